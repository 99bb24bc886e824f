// The command `oplab-load`: transactional load on TiKV with a write ledger, and the questions that one can ask it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	pingcaplog "github.com/pingcap/log"
	"go.uber.org/zap"
)

const usage = `oplab-load: transactional load on TiKV with a write ledger

  oplab-load run     --pd HOST:PORT[,…] --ledger DIR [--listen :8080] [--rate 50] …   write until told to stop
  oplab-load verify  [--url URL | --pd … --ledger DIR]     read back all that was acknowledged; exit 1 if any of it is lost or unreadable
  oplab-load probe   [--url URL | --pd …]                  one transactional put and get
  oplab-load status  [--url URL]                           counts of the ledger
  oplab-load delete  --key KEY [--url URL | --pd …]        delete a key behind the ledger's back (for tests: it must show as lost)
  oplab-load put     --key KEY [--url URL]                 write a key again, through the ledger
  oplab-load forget  --key KEY [--url URL]                 take a key out of the ledger

URL is that of a running load, http://127.0.0.1:8080 unless given.
`

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "--help" || args[0] == "-h" {
		fmt.Fprint(stderr, usage)
		return 2
	}
	// client-go logs every retry; what matters of it is in our own log and in /ledger.
	if logger, properties, err := pingcaplog.InitLogger(&pingcaplog.Config{Level: "error"}); err == nil {
		pingcaplog.ReplaceGlobals(logger.WithOptions(zap.IncreaseLevel(zap.ErrorLevel)), properties)
	}
	slog.SetDefault(slog.New(slog.NewJSONHandler(stderr, nil)))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	flags := flag.NewFlagSet("oplab-load "+args[0], flag.ContinueOnError)
	flags.SetOutput(stderr)
	pd := flags.String("pd", "", "PD endpoints, separated by commas")
	dir := flags.String("ledger", "", "folder of the ledger")
	target := flags.String("url", "http://127.0.0.1:8080", "URL of a running load")
	key := flags.String("key", "", "key to act on")
	listen := flags.String("listen", ":8080", "address of the HTTP server (run)")
	maxBytes := flags.Int64("ledger-max-bytes", 16<<20, "the ledger is rewritten when it has grown past this")
	wait := flags.Duration("timeout", time.Minute, "time limit of a one-shot command")
	var o loadOptions
	flags.IntVar(&o.rate, "rate", 50, "transactions per second")
	flags.IntVar(&o.workers, "workers", 8, "transactions at a time")
	flags.IntVar(&o.keys, "keys", 10_000, "rotating keys")
	flags.IntVar(&o.pinned, "pinned", 64, "keys that are written once and stay")
	flags.IntVar(&o.valueSize, "value-size", 256, "bytes per value")
	flags.IntVar(&o.regions, "regions", 6, "regions to cut the rotating keys into")
	flags.DurationVar(&o.timeout, "txn-timeout", 10*time.Second, "time limit of a transaction")
	flags.DurationVar(&o.gcAge, "gc-life-time", 10*time.Minute, "how long TiKV keeps old versions")
	if err := flags.Parse(args[1:]); err != nil {
		return 2
	}
	refuse := func(message string) int {
		fmt.Fprintln(stderr, "oplab-load "+args[0]+": "+message)
		return 2
	}
	if flags.NArg() > 0 {
		return refuse("unexpected argument " + flags.Arg(0))
	}
	switch args[0] {
	case "run":
		switch {
		case *pd == "" || *dir == "":
			return refuse("--pd and --ledger are required")
		case o.rate < 1 || o.rate > 10_000:
			return refuse("--rate must be between 1 and 10000")
		case o.workers < 1 || o.keys <= o.workers:
			return refuse("--keys must be more than --workers, which must be at least 1")
		}
		return serve(ctx, o, strings.Split(*pd, ","), *dir, *maxBytes, *listen)
	case "verify", "probe", "status":
		once, cancel := context.WithTimeout(ctx, *wait)
		defer cancel()
		return ask(once, args[0], *pd, *dir, *target, stdout, stderr)
	case "delete", "put", "forget":
		if *key == "" {
			return refuse("--key is required")
		}
		once, cancel := context.WithTimeout(ctx, *wait)
		defer cancel()
		if args[0] == "delete" && *pd != "" {
			s := &store{endpoints: strings.Split(*pd, ",")}
			if err := s.waitConnected(once); err != nil {
				return fail(stderr, err)
			}
			if _, err := s.remove(once, *key); err != nil {
				return fail(stderr, err)
			}
			return 0
		}
		return fetch(once, http.MethodPost, *target+"/"+args[0]+"?key="+url.QueryEscape(*key), stdout, stderr, func([]byte) bool { return true })
	default:
		fmt.Fprint(stderr, usage)
		return 2
	}
}

func serve(ctx context.Context, o loadOptions, endpoints []string, dir string, maxBytes int64, listen string) int {
	l, err := openLedger(dir, maxBytes)
	if err != nil {
		slog.Error("cannot open the ledger", "dir", dir, "cause", err)
		return 1
	}
	s := &store{endpoints: endpoints}
	work := newLoad(o, s, l)
	server := &http.Server{Addr: listen, Handler: work.handler(), ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() {
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	}()
	slog.Info("load begins", "pd", endpoints, "rate", o.rate, "keys", o.keys, "ledger", l.id, "acknowledgedTotal", l.totals().acked)
	running, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		work.run(running)
	}()
	code := 0
	select {
	case <-ctx.Done():
	case err := <-failed:
		slog.Error("HTTP server", "cause", err)
		code = 1
	}
	stop()
	<-done
	_ = server.Close()
	l.close()
	slog.Info("load ended", "acknowledgedTotal", l.totals().acked)
	return code
}

// ask puts a question to a running load, or answers it here when PD is given.
func ask(ctx context.Context, question, pd, dir, target string, stdout, stderr io.Writer) int {
	if pd == "" {
		path := map[string]string{"verify": "/verify", "probe": "/probe", "status": "/ledger"}[question]
		return fetch(ctx, http.MethodGet, target+path, stdout, stderr, func(body []byte) bool {
			switch question {
			case "verify":
				var r report
				return json.Unmarshal(body, &r) == nil && r.LedgerID != "" && r.ok()
			case "probe":
				var p probed
				return json.Unmarshal(body, &p) == nil && p.OK
			default:
				return true
			}
		})
	}
	s := &store{endpoints: strings.Split(pd, ",")}
	print := func(value any) { _ = json.NewEncoder(stdout).Encode(value) }
	if question == "probe" {
		result := probeResult(ctx, s)
		print(result)
		return exitCode(result.OK)
	}
	if dir == "" {
		return fail(stderr, errors.New("--ledger is required beside --pd"))
	}
	l, err := openLedger(dir, 1<<40)
	if err != nil {
		return fail(stderr, err)
	}
	defer l.close()
	if question == "status" {
		print(newLoad(loadOptions{}, s, l).state())
		return 0
	}
	if err := s.waitConnected(ctx); err != nil {
		return fail(stderr, err)
	}
	result := verify(ctx, l, s)
	print(result)
	return exitCode(result.ok())
}

func fetch(ctx context.Context, method, address string, stdout, stderr io.Writer, good func([]byte) bool) int {
	request, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return fail(stderr, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fail(stderr, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return fail(stderr, err)
	}
	_, _ = stdout.Write(body)
	return exitCode(response.StatusCode == http.StatusOK && good(body))
}

func exitCode(ok bool) int {
	if ok {
		return 0
	}
	return 1
}

func fail(stderr io.Writer, err error) int {
	fmt.Fprintln(stderr, "oplab-load:", err)
	return 1
}
