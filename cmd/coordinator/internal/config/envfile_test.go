package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseLine(t *testing.T) {
	for _, test := range []struct{ line, name, value string }{
		{``, ``, ``},
		{`   # comment`, ``, ``},
		{`A=b`, `A`, `b`},
		{`  A=b  `, `A`, `b`},
		{`export A=b`, `A`, `b`},
		{"export\tA=b", `A`, `b`},
		{`export=b`, `export`, `b`},
		{`A=`, `A`, ``},
		{`A= # nothing`, `A`, ``},
		{`A=b # comment`, `A`, `b`},
		{`A=http://x/#top`, `A`, `http://x/#top`},
		{`A=b=c`, `A`, `b=c`},
		{`A=$HOME ${X}`, `A`, `$HOME ${X}`},
		{`A={"a":"b"}`, `A`, `{"a":"b"}`},
		{`A='it # is "so" \n'`, `A`, `it # is "so" \n`},
		{`A='x' # comment`, `A`, `x`},
		{`A=" x "`, `A`, ` x `},
		{`A="a\tb\n\"c\" \\ \$D $E"`, `A`, "a\tb\n\"c\" \\ $D $E"},
		{`A=""`, `A`, ``},
	} {
		name, value, err := parseLine(test.line)
		if err != nil || name != test.name || value != test.value {
			t.Errorf("%q: got %q=%q, %v, want %q=%q", test.line, name, value, err, test.name, test.value)
		}
	}
	for line, want := range map[string]string{
		`hello`:         "want NAME=VALUE",
		`=x`:            "want NAME=VALUE",
		`1A=x`:          "want NAME=VALUE, the name of letters",
		`A-B=x`:         "want NAME=VALUE, the name of letters",
		`A =x`:          "no white space before the =",
		`A= x`:          "no white space after the =",
		`A='x`:          "closing '",
		`A="x`:          `closing "`,
		`A="x\`:         "after a backslash",
		`A="\q"`:        "after a backslash",
		`A='x'y`:        "nothing but a comment",
		`A="x"#y`:       "nothing but a comment",
		"A=x\x00":       "want UTF-8 without NUL",
		"A=\xff":        "want UTF-8 without NUL",
		`export export`: "want NAME=VALUE",
	} {
		if _, _, err := parseLine(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", line, err, want)
		}
	}
}

func TestEnvFileForms(t *testing.T) {
	found, problems := parseEnvFile("f", "\ufeffA=1\r\n\r\nB=2\nC=3")
	want := []assignment{{"A", "1", 1}, {"B", "2", 3}, {"C", "3", 4}}
	if len(problems) > 0 || len(found) != len(want) {
		t.Fatalf("got %v, %v, want %v", found, problems, want)
	}
	for i := range want {
		if found[i] != want[i] {
			t.Errorf("got %v, want %v", found[i], want[i])
		}
	}
	path := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(path, []byte(strings.Repeat("#", maxEnvFile+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, problems := readEnvFile(path); len(problems) != 1 || !strings.Contains(problems[0].Message, "longer than") {
		t.Errorf("a file beyond the bound: %v", problems)
	}
}

// FuzzEnvFile wants of any text: every line is an assignment, a problem or
// neither, names are good and unique, and what was read can be written and read
// again.
func FuzzEnvFile(f *testing.F) {
	for _, seed := range []string{"A=b\nA=c\n", "export A='b' # c\n", `A="\"\\\n"` + "\n", "A =b\n=\n\"\n", "\ufeffA=\x00"} {
		f.Add(seed)
	}
	quote := strings.NewReplacer("\\", `\\`, "\"", `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`)
	f.Fuzz(func(t *testing.T, text string) {
		found, problems := parseEnvFile("f", text)
		if lines := strings.Count(text, "\n") + 1; len(found)+len(problems) > lines {
			t.Fatalf("%d assignments and %d problems of %d lines", len(found), len(problems), lines)
		}
		for _, p := range problems {
			if p.line == 0 || strings.ContainsAny(p.Error(), "\n\r") {
				t.Fatalf("a problem without a line, or on two: %q", p.Error())
			}
		}
		var again strings.Builder
		seen := map[string]bool{}
		for _, a := range found {
			if !isEnvName(a.name) || seen[a.name] {
				t.Fatalf("name %q", a.name)
			}
			seen[a.name] = true
			again.WriteString(a.name + `="` + quote.Replace(a.value) + "\"\n")
		}
		back, problems := parseEnvFile("f", again.String())
		if len(problems) > 0 || len(back) != len(found) {
			t.Fatalf("written again: %v, %v", back, problems)
		}
		for i := range back {
			if back[i].name != found[i].name || back[i].value != found[i].value {
				t.Fatalf("wrote %q, read %q", found[i].value, back[i].value)
			}
		}
	})
}
