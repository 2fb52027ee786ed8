package config

import "strings"

// StateDir is the state directory of the supervisor of that environment and file.
// As with AdminSocket nothing else of the configuration needs to be right: what
// became of a request is asked when things have gone wrong.
func StateDir(environ []string, envFile string) (string, error) {
	s, problems := gather(environ, envFile)
	const variable = globalPrefix + "STATE_DIR"
	for _, p := range problems {
		if p.Variable == variable || p.Variable == "" && p.From == envFile {
			return "", Errors{p}
		}
	}
	if path := strings.TrimSpace(s.set[variable].value); path != "" {
		return absolute(path), nil
	}
	return absolute(s.stateDir().path), nil
}
