// The command line, with tikv-server's own names for its options.
package main

import (
	"flag"
	"fmt"
	"io"
	"time"
)

type commandLine struct {
	pdEndpoints         string
	addr                string
	advertiseAddr       string
	statusAddr          string
	advertiseStatusAddr string
	dataDir             string
	configPath          string
	configCheck         bool
	capacity            string
	labels              string
	logLevel            string
	logFile             string
	version             bool
}

func parseArgs(args []string, stderr io.Writer) (*commandLine, error) {
	c := &commandLine{}
	flags := flag.NewFlagSet("tikv-server", flag.ContinueOnError)
	flags.SetOutput(stderr)
	text := func(target *string, usage string, names ...string) {
		for _, name := range names {
			flags.StringVar(target, name, "", usage)
		}
	}
	text(&c.pdEndpoints, "PD endpoints, separated by commas", "pd-endpoints", "pd")
	text(&c.addr, "listening address", "addr", "A")
	text(&c.advertiseAddr, "address that clients and other stores are told", "advertise-addr")
	text(&c.statusAddr, "listening address of the status server", "status-addr")
	text(&c.advertiseStatusAddr, "status address that others are told", "advertise-status-addr")
	text(&c.dataDir, "directory for data", "data-dir", "s")
	text(&c.configPath, "configuration file (TOML)", "config", "C")
	text(&c.capacity, "store capacity; default: the size of the disk", "capacity")
	text(&c.labels, "store labels, KEY=VALUE separated by commas", "labels")
	text(&c.logLevel, "log level", "log-level", "L")
	text(&c.logFile, "log file; default: standard error", "log-file", "f")
	flags.BoolVar(&c.configCheck, "config-check", false, "check the configuration and exit")
	flags.BoolVar(&c.version, "version", false, "print the version and exit")
	flags.BoolVar(&c.version, "V", false, "print the version and exit")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		err := fmt.Errorf("unexpected argument %q", flags.Arg(0))
		fmt.Fprintln(stderr, err)
		return nil, err
	}
	return c, nil
}

// fatalLine renders a fatal entry in the unified log format without the logger, which may not exist yet.
func fatalLine(message string) string {
	return fmt.Sprintf("[%s] [FATAL] [main.go] [%q]", time.Now().Format("2006/01/02 15:04:05.000 -07:00"), message)
}
