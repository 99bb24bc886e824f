// What this program says about itself: it takes TiKV's place, and is not TiKV.
package main

import (
	"fmt"
	"runtime"
)

const (
	// storeVersion is what the store tells PD. It stays below 5.0.0: from there on PD would use joint consensus,
	// which unistore does not speak.
	storeVersion = "3.0.0-unistore.standin"

	standInNotice = "stand-in for tikv-server over unistore: TiKV's protocol with real Raft, but not TiKV"
)

// release is set by the linker (-X main.release=…); "dev" otherwise.
var release = "dev"

// versionText is printed by --version and at start-up, in the shape of tikv-server's own.
func versionText() string {
	return fmt.Sprintf("tikv-server (%s)\nRelease Version:   %s\nEdition:           Stand-in\nStore Version:     %s\nEngine:            github.com/ngaut/unistore\nGo Version:        %s\n",
		standInNotice, release, storeVersion, runtime.Version())
}
