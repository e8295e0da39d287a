// Command echo answers each request with the headers that it received, as JSON.
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
)

func main() {
	log.Fatal(http.ListenAndServe(os.Args[1], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("content-type", "application/json")
		if err := json.NewEncoder(w).Encode(r.Header); err != nil {
			log.Print(err)
		}
	})))
}
