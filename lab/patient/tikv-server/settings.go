// The configuration: tikv.toml laid over the defaults of settings.toml, refused as soon as a key or a value is not TiKV's.
package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

//go:embed settings.toml
var defaultSettings string

type table = map[string]interface{}

// settings is the effective configuration as nested tables, addressed by dotted keys ("raftstore.capacity").
type settings struct {
	root table
}

// loadSettings never returns nil: with an error, the defaults come with it, because the logger needs something to start from.
func loadSettings(path string) (*settings, error) {
	s := &settings{}
	if _, err := toml.Decode(defaultSettings, &s.root); err != nil {
		panic(fmt.Sprintf("embedded settings.toml: %v", err))
	}
	if path == "" {
		return s, nil
	}
	source, err := os.ReadFile(path)
	if err != nil {
		return s, fmt.Errorf("cannot read the configuration file: %w", err)
	}
	var given table
	if _, err := toml.Decode(string(source), &given); err != nil {
		return s, fmt.Errorf("invalid toml in %s: %w", path, err)
	}
	var unknown []string
	var wrong []error
	lay("", s.root, given, &unknown, &wrong)
	if len(unknown) > 0 {
		sort.Strings(unknown)
		wrong = append([]error{fmt.Errorf("unknown configuration options: %s", strings.Join(unknown, ", "))}, wrong...)
	}
	wrong = append(wrong, s.validate()...)
	return s, errors.Join(wrong...)
}

// lay copies given over base where the key exists there and the value has the form of the default.
func lay(prefix string, base, given table, unknown *[]string, wrong *[]error) {
	for name, value := range given {
		key := prefix + name
		inner, isTable := value.(table)
		if key == "server.labels" && isTable {
			base[name] = inner
			continue
		}
		standard, known := base[name]
		if !known {
			*unknown = append(*unknown, key)
			continue
		}
		if innerBase, ok := standard.(table); ok {
			if !isTable {
				*wrong = append(*wrong, fmt.Errorf("invalid value of `%s`: expected a table, found %v", key, value))
				continue
			}
			lay(key+".", innerBase, inner, unknown, wrong)
			continue
		}
		if err := sameForm(standard, value); err != nil {
			*wrong = append(*wrong, fmt.Errorf("invalid value of `%s`: %w", key, err))
			continue
		}
		base[name] = value
	}
}

func sameForm(standard, value interface{}) error {
	switch d := standard.(type) {
	case bool:
		if _, ok := value.(bool); !ok {
			return fmt.Errorf("expected true or false, found %v", value)
		}
	case int64:
		if _, ok := value.(int64); !ok {
			return fmt.Errorf("expected a whole number, found %v", value)
		}
	case float64:
		switch value.(type) {
		case float64, int64:
		default:
			return fmt.Errorf("expected a number, found %v", value)
		}
	case []interface{}:
		if _, ok := value.([]interface{}); !ok {
			return fmt.Errorf("expected a list, found %v", value)
		}
	case string:
		text, ok := value.(string)
		if number, isNumber := value.(int64); isNumber && sizePattern.MatchString(d) {
			_, ok, text = number, true, strconv.FormatInt(number, 10)
		}
		if !ok {
			return fmt.Errorf("expected a string, found %v", value)
		}
		if sizePattern.MatchString(d) {
			_, err := parseSize(text)
			return err
		}
		if _, err := time.ParseDuration(d); err == nil {
			_, err := parseDuration(text)
			return err
		}
	}
	return nil
}

var sizePattern = regexp.MustCompile(`^\d+(\.\d+)?\s*([KMGTPE]i?B|B)$`)

// parseSize reads a size as TiKV writes it; KB and KiB both mean 1024 bytes there.
func parseSize(text string) (uint64, error) {
	trimmed := strings.TrimSpace(text)
	digits := strings.TrimRight(trimmed, "KMGTPEiB ")
	number, err := strconv.ParseFloat(digits, 64)
	if err != nil || number < 0 {
		return 0, fmt.Errorf("invalid size %q", text)
	}
	unit := strings.TrimSpace(strings.TrimPrefix(trimmed, digits))
	if unit == "" || unit == "B" {
		return uint64(number), nil
	}
	power := strings.IndexByte("KMGTPE", unit[0])
	if power < 0 || (unit[1:] != "B" && unit[1:] != "iB" && unit[1:] != "") {
		return 0, fmt.Errorf("invalid size %q", text)
	}
	for ; power >= 0; power-- {
		number *= 1024
	}
	return uint64(number), nil
}

func parseDuration(text string) (time.Duration, error) {
	// TiKV knows days, Go does not.
	if days := strings.TrimSuffix(text, "d"); days != text {
		if number, err := strconv.ParseFloat(days, 64); err == nil && number >= 0 {
			return time.Duration(number * float64(24*time.Hour)), nil
		}
	}
	value, err := time.ParseDuration(text)
	if err != nil || value < 0 {
		return 0, fmt.Errorf("invalid duration %q", text)
	}
	return value, nil
}

// apply lays the command line over the file.
func (s *settings) apply(c *commandLine) error {
	if c.pdEndpoints != "" {
		list := []interface{}{}
		for _, endpoint := range strings.Split(c.pdEndpoints, ",") {
			list = append(list, strings.TrimSpace(endpoint))
		}
		s.set("pd.endpoints", list)
	}
	for key, value := range map[string]string{
		"server.addr":                  c.addr,
		"server.advertise-addr":        c.advertiseAddr,
		"server.status-addr":           c.statusAddr,
		"server.advertise-status-addr": c.advertiseStatusAddr,
		"storage.data-dir":             c.dataDir,
		"raftstore.capacity":           c.capacity,
		"log.level":                    c.logLevel,
		"log.file.filename":            c.logFile,
	} {
		if value != "" {
			s.set(key, value)
		}
	}
	if c.labels != "" {
		labels := table{}
		for _, pair := range strings.Split(c.labels, ",") {
			name, value, ok := strings.Cut(pair, "=")
			if !ok || name == "" || value == "" {
				return fmt.Errorf("invalid label %q: expected KEY=VALUE", pair)
			}
			labels[name] = value
		}
		s.set("server.labels", labels)
	}
	if _, err := parseSize(s.text("raftstore.capacity")); err != nil {
		return fmt.Errorf("invalid --capacity: %w", err)
	}
	return errors.Join(s.validate()...)
}

// validate holds the rules that TiKV itself enforces between values.
func (s *settings) validate() []error {
	var wrong []error
	refuse := func(condition bool, format string, args ...interface{}) {
		if condition {
			wrong = append(wrong, fmt.Errorf(format, args...))
		}
	}
	heartbeat, election := s.number("raftstore.raft-heartbeat-ticks"), s.number("raftstore.raft-election-timeout-ticks")
	refuse(heartbeat <= 0, "raftstore.raft-heartbeat-ticks must be greater than 0")
	refuse(election <= heartbeat, "raftstore.raft-election-timeout-ticks must be greater than raftstore.raft-heartbeat-ticks")
	tick := s.duration("raftstore.raft-base-tick-interval")
	refuse(tick <= 0, "raftstore.raft-base-tick-interval must be greater than 0")
	refuse(tick*time.Duration(election) < s.duration("raftstore.raft-store-max-leader-lease"),
		"raftstore.raft-store-max-leader-lease must not exceed the election timeout")
	refuse(s.duration("raftstore.pd-store-heartbeat-tick-interval") <= 0, "raftstore.pd-store-heartbeat-tick-interval must be greater than 0")
	refuse(s.duration("raftstore.pd-heartbeat-tick-interval") <= 0, "raftstore.pd-heartbeat-tick-interval must be greater than 0")
	refuse(s.size("coprocessor.region-max-size") < s.size("coprocessor.region-split-size"), "coprocessor.region-max-size must not be less than coprocessor.region-split-size")
	refuse(s.number("coprocessor.region-max-keys") < s.number("coprocessor.region-split-keys"), "coprocessor.region-max-keys must not be less than coprocessor.region-split-keys")
	refuse(s.number("server.grpc-concurrency") <= 0, "server.grpc-concurrency must be greater than 0")
	refuse(!knownLevel(s.text("log.level")), "log.level: unknown level %q", s.text("log.level"))
	refuse(len(s.endpoints()) == 0, "pd.endpoints: please specify pd.endpoints")
	return wrong
}

func knownLevel(level string) bool {
	switch strings.ToLower(level) {
	case "trace", "debug", "info", "warn", "warning", "error", "critical", "fatal":
		return true
	}
	return false
}

// logLevel translates to the levels that the logger has.
func (s *settings) logLevel() string {
	switch level := strings.ToLower(s.text("log.level")); level {
	case "trace":
		return "debug"
	case "warning":
		return "warn"
	case "critical":
		return "error"
	default:
		if !knownLevel(level) {
			return "info"
		}
		return level
	}
}

func (s *settings) lookup(key string) interface{} {
	var value interface{} = s.root
	for _, name := range strings.Split(key, ".") {
		inner, ok := value.(table)
		if !ok {
			panic("no such setting: " + key)
		}
		if value, ok = inner[name]; !ok {
			panic("no such setting: " + key)
		}
	}
	return value
}

func (s *settings) set(key string, value interface{}) {
	dot := strings.LastIndexByte(key, '.')
	parent, ok := s.lookup(key[:dot]).(table)
	if !ok {
		panic("no such setting: " + key)
	}
	parent[key[dot+1:]] = value
}

func (s *settings) text(key string) string {
	if number, ok := s.lookup(key).(int64); ok {
		return strconv.FormatInt(number, 10)
	}
	text, _ := s.lookup(key).(string)
	return text
}

func (s *settings) number(key string) int64 {
	number, _ := s.lookup(key).(int64)
	return number
}

func (s *settings) size(key string) uint64 {
	size, _ := parseSize(s.text(key))
	return size
}

func (s *settings) duration(key string) time.Duration {
	duration, _ := parseDuration(s.text(key))
	return duration
}

func (s *settings) endpoints() []string {
	var endpoints []string
	list, _ := s.lookup("pd.endpoints").([]interface{})
	for _, item := range list {
		if text, ok := item.(string); ok && text != "" {
			endpoints = append(endpoints, text)
		}
	}
	return endpoints
}

func (s *settings) labels() map[string]string {
	labels := map[string]string{}
	inner, _ := s.lookup("server.labels").(table)
	for name, value := range inner {
		labels[name] = fmt.Sprint(value)
	}
	return labels
}

// advertised is the address that the store registers at PD; like TiKV it falls back to the listening address.
func (s *settings) advertised(kind string) string {
	if address := s.text("server.advertise-" + kind); address != "" {
		return address
	}
	return s.text("server." + kind)
}

func (s *settings) json() string {
	text, err := json.Marshal(s.root)
	if err != nil {
		return "{}"
	}
	return string(text)
}

func (s *settings) flag(key string) bool {
	flag, _ := s.lookup(key).(bool)
	return flag
}
