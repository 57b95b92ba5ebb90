// What crypto/tls of Go reads of files with certificates and keys: JSON in, JSON out.
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"log"
	"math/big"
	"os"
	"time"
)

type request struct {
	// The keys of the leaves.
	LeafKeys []string
	// The public keys of the keys, by their names.
	PublicKeys map[string]string
	// Contents of files, by name.
	Certificates, Keys map[string][]byte
}

type response struct {
	// The subjects of a chain; what is refused is missing.
	Certificates map[string][]string
	// The name of a key.
	Keys map[string]string
}

func main() {
	var in request
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		log.Fatal(err)
	}
	out := response{map[string][]string{}, map[string]string{}}
	for name, file := range in.Certificates {
		for _, key := range in.LeafKeys {
			if pair, err := tls.X509KeyPair(file, []byte(key)); err == nil {
				out.Certificates[name] = subjectsOf(pair)
			}
		}
	}
	certificates := certificatesOf(in.PublicKeys)
	for name, file := range in.Keys {
		for owner, certificate := range certificates {
			if _, err := tls.X509KeyPair(certificate, file); err == nil {
				out.Keys[name] = owner
			}
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		log.Fatal(err)
	}
}

func subjectsOf(pair tls.Certificate) []string {
	subjects := []string{}
	for _, der := range pair.Certificate {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			log.Fatal(err)
		}
		subjects = append(subjects, certificate.Subject.String())
	}
	return subjects
}

// X509KeyPair reads a key only together with a certificate of its public key.
func certificatesOf(publicKeys map[string]string) map[string][]byte {
	certificates := map[string][]byte{}
	for name, text := range publicKeys {
		block, _ := pem.Decode([]byte(text))
		if key, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
			certificates[name] = certificateOf(key)
		}
	}
	return certificates
}

func certificateOf(key crypto.PublicKey) []byte {
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "go"},
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key, signer)
	if err != nil {
		log.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
