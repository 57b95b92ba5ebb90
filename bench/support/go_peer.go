// The peers in Go, of its standard library only: go run bench/support/go_peer.go serve|watch|load|roots FOLDER
//
// serve: an HTTPS server with GetCertificate, which answers the lines of its standard input: swap and memory.
// watch: the same, following tls.crt and tls.key as the certwatcher of Kubernetes' controller-runtime does: inotify, and
// a look every 10 seconds.
// load:  how long tls.LoadX509KeyPair takes, the median of many.
// roots: how long x509.SystemCertPool takes at first.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

func load(folder, name string) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, name+".crt"), filepath.Join(folder, name+".key"))
	return &pair, err
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

var bodies = map[string][]byte{}

// bodyOf is what is served at a path such as /200, /200/fresh or /20480, and hello at any other.
func bodyOf(path string) []byte {
	if body, isKnown := bodies[strings.TrimSuffix(path, "/fresh")]; isKnown {
		return body
	}
	return []byte("hello\n")
}

func serve(current *atomic.Value) {
	for _, size := range []int{200, 1024, 20480, 64 << 20} {
		bodies["/"+strconv.Itoa(size)] = bytes.Repeat([]byte{'x'}, size)
	}
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	server := &http.Server{
		Handler: http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
			response.Write(bodyOf(request.URL.Path))
		}),
		TLSConfig: &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return current.Load().(*tls.Certificate), nil
		}},
		ErrorLog: log.New(io.Discard, "", 0),
	}
	go server.ServeTLS(listener, "", "")
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
}

func watch(folder string, current *atomic.Value) {
	fd := must(syscall.InotifyInit1(syscall.IN_CLOEXEC))
	must(syscall.InotifyAddWatch(fd, folder, syscall.IN_MOVED_TO|syscall.IN_CLOSE_WRITE|syscall.IN_CREATE))
	reload := func() {
		// A key without its certificate is an error, and the next event brings the certificate.
		if pair, err := load(folder, "tls"); err == nil {
			current.Store(pair)
		}
	}
	go func() {
		for range time.Tick(10 * time.Second) {
			reload()
		}
	}()
	go func() {
		for events := make([]byte, 4096); ; reload() {
			must(syscall.Read(fd, events))
		}
	}()
}

// memory is what the heap holds, in MiB, after garbage has been collected.
func memory() float64 {
	debug.FreeOSMemory()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc) / (1 << 20)
}

func timeOf(action func()) float64 {
	start := time.Now()
	action()
	return float64(time.Since(start).Nanoseconds()) / 1e6
}

func main() {
	command, folder := os.Args[1], os.Args[2]
	var current atomic.Value
	switch command {
	case "serve":
		pairs := []*tls.Certificate{must(load(folder, "first")), must(load(folder, "second"))}
		current.Store(pairs[0])
		serve(&current)
		for lines, index := bufio.NewScanner(os.Stdin), 0; lines.Scan(); {
			if lines.Text() == "memory" {
				fmt.Println(memory())
				continue
			}
			index = 1 - index
			current.Store(pairs[index])
			fmt.Println(index)
		}
	case "watch":
		current.Store(must(load(folder, "tls")))
		watch(folder, &current)
		serve(&current)
		io.Copy(io.Discard, os.Stdin)
	case "load":
		times := make([]float64, 50)
		for index := range times {
			times[index] = timeOf(func() { must(load(folder, "tls")) })
		}
		sort.Float64s(times)
		fmt.Printf(`{"warm": %f}`, times[len(times)/2])
	case "roots":
		fmt.Printf(`{"load": %f}`, timeOf(func() { must(x509.SystemCertPool()) }))
	}
}
