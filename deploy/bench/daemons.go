package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The configurations of what others have made: no access log, connections to the
// backend kept, bodies streamed where that is a choice, and the rest as it comes.

// nginxAt writes the configuration for servers into dir, under a name, and returns
// how to start it.
func nginxAt(dir, name, servers string) (launch, error) {
	user := ""
	if os.Getuid() == 0 {
		user = "user root;\n" // or its workers could not reach dir
	}
	var temp strings.Builder
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&temp, "	%s_temp_path %s;\n", kind, filepath.Join(dir, name+"-"+kind))
	}
	text := user + `daemon off;
worker_processes auto;
error_log stderr warn;
pid ` + filepath.Join(dir, name+".pid") + `;
events {
	worker_connections 16384;
}
http {
	access_log off;
	default_type application/octet-stream;
	sendfile on;
	keepalive_timeout 600s;
	keepalive_requests 1000000000;
	client_max_body_size 0;
	open_file_cache max=100;
` + temp.String() + servers + "}\n"
	file := filepath.Join(dir, name+".conf")
	return launch{[]string{"nginx", "-p", dir, "-e", "stderr", "-c", file}}, os.WriteFile(file, []byte(text), 0o600)
}

// nginxHop is a server that passes everything on; backend is an address or
// unix:PATH.
func nginxHop(listen, backend string) string {
	return `	upstream backend {
		server ` + backend + `;
		keepalive 1024;
		keepalive_requests 1000000000;
		keepalive_timeout 600s;
	}
	server {
		listen ` + listen + ` backlog=4096;
		location / {
			proxy_pass http://backend;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Host $host;
			proxy_set_header X-Forwarded-For $remote_addr;
			proxy_set_header X-Forwarded-Proto $scheme;
			proxy_request_buffering off;
			proxy_max_temp_file_size 0;
		}
	}
`
}

func oneNginx(at site) ([]launch, error) {
	front, err := nginxAt(at.dir, "front", nginxHop(at.address, at.backend))
	return []launch{front}, err
}

// twoNginx is two masters with workers of their own, as a supervisor and its
// workers are.
func twoNginx(at site) ([]launch, error) {
	socket := "unix:" + filepath.Join(at.dir, "hop.sock")
	back, err := nginxAt(at.dir, "back", nginxHop(socket, at.backend))
	if err != nil {
		return nil, err
	}
	front, err := nginxAt(at.dir, "front", nginxHop(at.address, socket))
	return []launch{back, front}, err
}

// nginxFiles serves the folder files.
func nginxFiles(dir, address, files string) (launch, error) {
	return nginxAt(dir, "files", `	server {
		listen `+address+` backlog=4096;
		root `+files+`;
	}
`)
}

func haproxy(at site) ([]launch, error) {
	file := filepath.Join(at.dir, "haproxy.cfg")
	text := `global
	maxconn 16384
	no strict-limits
defaults
	mode http
	timeout connect 5s
	timeout client 600s
	timeout server 600s
	timeout http-keep-alive 600s
	http-reuse always
frontend front
	bind ` + at.address + ` backlog 4096
	option forwardfor
	default_backend back
backend back
	server backend ` + at.backend + `
`
	return []launch{{[]string{"haproxy", "-db", "-f", file}}}, os.WriteFile(file, []byte(text), 0o600)
}

func caddy(at site) ([]launch, error) {
	file := filepath.Join(at.dir, "Caddyfile")
	_, port, _ := strings.Cut(at.address, ":")
	text := `{
	admin off
	auto_https off
}
http://:` + port + ` {
	bind 127.0.0.1
	reverse_proxy ` + at.backend + ` {
		transport http {
			keepalive 10m
			keepalive_idle_conns_per_host 4096
		}
	}
}
`
	return []launch{{[]string{"caddy", "run", "--config", file, "--adapter", "caddyfile"}}}, os.WriteFile(file, []byte(text), 0o600)
}
