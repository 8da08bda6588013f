// A plain-HTTP OCI registry over one folder, so that a test cluster pulls images by their real
// manifest digests. Arguments: the address to listen on and the folder.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: registry ADDRESS FOLDER")
		os.Exit(2)
	}
	config := &configuration.Configuration{
		Version: configuration.CurrentVersion,
		Storage: configuration.Storage{
			"filesystem": configuration.Parameters{"rootdirectory": os.Args[2]},
			"delete":     configuration.Parameters{"enabled": true},
		},
	}
	config.HTTP.Secret = "one registry, one process: there is nobody to share it with"
	config.Log.Level = "warn"
	config.Log.AccessLog.Disabled = true
	app := handlers.NewApp(context.Background(), config)
	log.Fatal(http.ListenAndServe(os.Args[1], app))
}
