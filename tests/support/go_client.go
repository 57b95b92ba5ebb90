// Makes a handshake and prints the common name of the certificate: go_client ADDRESS NAME VERSION KIND
package main

import (
	"crypto/tls"
	"fmt"
	"os"
)

func main() {
	config := &tls.Config{ServerName: os.Args[2], InsecureSkipVerify: true}
	switch os.Args[3] {
	case "TLSv1.2":
		config.MaxVersion = tls.VersionTLS12
	case "TLSv1.3":
		config.MinVersion = tls.VersionTLS13
	}
	switch os.Args[4] {
	case "EC":
		config.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	case "RSA":
		config.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	}
	connection, err := tls.Dial("tcp", os.Args[1], config)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("CN=" + connection.ConnectionState().PeerCertificates[0].Subject.CommonName)
}
