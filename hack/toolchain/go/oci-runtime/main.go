// Command oci-runtime is runc for hosts whose capability bounding set lacks
// CAP_SYS_RESOURCE. There `docker run --privileged`, a raised rlimit or a
// negative OOM score makes runc fail. This wrapper takes exactly those three
// wishes out of the container's configuration and then becomes runc. It only
// ever drops privileges: nothing is added that the caller did not ask for.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

const missing = "CAP_SYS_RESOURCE"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "oplab oci-runtime:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if file, isProcess := configOf(args); file != "" {
		if err := soften(file, isProcess); err != nil {
			return err
		}
	}
	runc, err := findRunc()
	if err != nil {
		return err
	}
	return syscall.Exec(runc, append([]string{"runc"}, args...), os.Environ())
}

// findRunc honours OPLAB_RUNC, then looks on PATH and in the usual places.
func findRunc() (string, error) {
	if path := os.Getenv("OPLAB_RUNC"); path != "" {
		return path, nil
	}
	if path, err := exec.LookPath("runc"); err == nil {
		return path, nil
	}
	for _, path := range []string{"/usr/sbin/runc", "/usr/bin/runc", "/usr/local/sbin/runc"} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("runc is not installed")
}

// configOf finds the JSON that a runc command line will read: the bundle's
// config.json for create, run and restore, the --process file for exec.
func configOf(args []string) (file string, isProcess bool) {
	command := ""
	bundle := "."
	process := ""
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if !strings.HasPrefix(arg, "-") {
			if command == "" {
				command = arg
			}
			continue
		}
		name, value, joined := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		// Global flags with a value stand before the command; their value is no command.
		takesValue := map[string]bool{
			"root": true, "log": true, "log-format": true, "criu": true, "rootless": true,
			"bundle": true, "b": true, "process": true, "p": true, "pid-file": true,
			"console-socket": true, "preserve-fds": true, "cwd": true, "env": true, "e": true,
			"user": true, "u": true, "additional-gids": true, "g": true, "apparmor": true,
			"process-label": true, "cap": true, "c": true, "cgroup": true,
			"image-path": true, "work-path": true,
		}
		if !takesValue[name] {
			continue
		}
		if !joined && i+1 < len(args) {
			i++
			value = args[i]
		}
		switch name {
		case "bundle", "b":
			bundle = value
		case "process", "p":
			process = value
		}
	}
	switch command {
	case "create", "run", "restore":
		return filepath.Join(bundle, "config.json"), false
	case "exec":
		return process, true
	}
	return "", false
}

// soften rewrites the file in place; numbers keep their exact text.
func soften(file string, isProcess bool) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	out, changed, err := softened(raw, isProcess)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if !changed {
		return nil
	}
	return os.WriteFile(file, out, 0o600)
}

func softened(raw []byte, isProcess bool) (out []byte, changed bool, err error) {
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber()
	var config map[string]any
	if err := decoder.Decode(&config); err != nil {
		return nil, false, err
	}
	process := config
	if !isProcess {
		inner, ok := config["process"].(map[string]any)
		if !ok {
			return raw, false, nil
		}
		process = inner
	}
	if sets, ok := process["capabilities"].(map[string]any); ok {
		for name, value := range sets {
			list, ok := value.([]any)
			if !ok {
				continue
			}
			kept := make([]any, 0, len(list))
			for _, capability := range list {
				if capability != missing {
					kept = append(kept, capability)
				}
			}
			if len(kept) != len(list) {
				sets[name] = kept
				changed = true
			}
		}
	}
	if _, ok := process["rlimits"]; ok {
		delete(process, "rlimits")
		changed = true
	}
	if score, ok := process["oomScoreAdj"].(json.Number); ok && strings.HasPrefix(score.String(), "-") {
		delete(process, "oomScoreAdj")
		changed = true
	}
	if !changed {
		return raw, false, nil
	}
	out, err = json.Marshal(config)
	return out, true, err
}
