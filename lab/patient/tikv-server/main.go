// The command `tikv-server`: TiKV's command line over unistore's packages, for places where TiKV's image cannot be pulled.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/pingcap/log"
	"github.com/zhangjinpeng1987/raft"
	"go.uber.org/zap"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	cmd, err := parseArgs(args, stderr)
	if err == flag.ErrHelp {
		return 0
	}
	if err != nil {
		return 2
	}
	if cmd.version {
		fmt.Fprint(stdout, versionText())
		return 0
	}
	settings, err := loadSettings(cmd.configPath)
	if err == nil {
		err = settings.apply(cmd)
	}
	if cmd.configCheck {
		if err != nil {
			fmt.Fprintln(stderr, fatalLine("config check failed: "+err.Error()))
			return 1
		}
		fmt.Fprintln(stdout, "config check successful")
		return 0
	}
	// The logger is made even for a broken configuration: its fatal line must be where an operator looks for it.
	if logErr := initLogger(settings); logErr != nil {
		fmt.Fprintln(stderr, fatalLine("cannot open the log: "+logErr.Error()))
		return 1
	}
	if err != nil {
		return fatal(fmt.Sprintf("invalid configuration: %v", err))
	}
	log.Info("Welcome to TiKV's stand-in", zap.String("notice", standInNotice), zap.String("release", release),
		zap.String("store-version", storeVersion), zap.String("go", runtime.Version()))
	log.Info("using config", zap.String("config", settings.json()))

	node, err := startNode(settings)
	if err != nil {
		return fatal(fmt.Sprintf("failed to start node: %v", err))
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	select {
	case received := <-signals:
		log.Info("receive signal, stopping server...", zap.Stringer("signal", received))
		node.stop()
		log.Info("server stopped")
		return 0
	case err := <-node.failed:
		return fatal(err.Error())
	}
}

// fatal logs the way tikv-server's own last words look, so that whoever reads logs of either finds the same mark.
func fatal(message string) int {
	fmt.Fprintln(os.Stderr, fatalLine(message))
	return 1
}

func initLogger(settings *settings) error {
	logger, properties, err := log.InitLogger(&log.Config{
		Level: settings.logLevel(),
		File:  log.FileLogConfig{Filename: settings.text("log.file.filename")},
	})
	if err != nil {
		return err
	}
	log.ReplaceGlobals(logger, properties)
	raft.SetLogger(raftLogger{logger.Sugar()})
	return nil
}

// raftLogger gives zap's logger the two method names that the raft library asks for.
type raftLogger struct{ *zap.SugaredLogger }

func (l raftLogger) Warning(v ...interface{})                 { l.Warn(v...) }
func (l raftLogger) Warningf(format string, v ...interface{}) { l.Warnf(format, v...) }
