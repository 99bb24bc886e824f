// The status server on TiKV's port 20180: /status, /metrics, /config and profiles.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func statusHandler(s *settings, m *metrics) http.Handler {
	mux := http.NewServeMux()
	writeJSON := func(w http.ResponseWriter, value interface{}) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(value)
	}
	mux.HandleFunc("/status", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, map[string]interface{}{
			"program": "tikv-server", "standIn": true, "notice": standInNotice, "release": release, "version": storeVersion,
		})
	})
	mux.HandleFunc("/config", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.root) })
	mux.Handle("/metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(w, "path not found: %s; there are /status, /metrics, /config\n", r.URL.Path)
	})
	return mux
}
