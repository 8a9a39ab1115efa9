// Command notation verifies signatures for the tests, by the Notary Project's own library.
//
// The official program of that name is no Go module that a proxy has, so it cannot be built here.
// This one takes the arguments and the environment that the daemon gives the official one, and
// prints what that prints; `docs/flux.md` says how the two were compared.
//
//	notation verify --oci-layout --scope HOST/PATH [--verbose] LAYOUT@DIGEST
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"

	_ "github.com/notaryproject/notation-core-go/signature/cose" // to be known by their media types
	_ "github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-go"
	"github.com/notaryproject/notation-go/dir"
	"github.com/notaryproject/notation-go/log"
	"github.com/notaryproject/notation-go/plugin"
	"github.com/notaryproject/notation-go/registry"
	"github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"
	"github.com/sirupsen/logrus"
)

func main() {
	dir.UserConfigDir = os.Getenv("NOTATION_CONFIG")
	dir.UserLibexecDir = os.Getenv("NOTATION_LIBEXEC")
	if len(os.Args) < 2 || os.Args[1] != "verify" {
		fmt.Fprintln(os.Stderr, "Error: this program does nothing but verify")
		os.Exit(1)
	}
	if err := verify(context.Background(), os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func verify(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("verify", flag.ContinueOnError)
	isLayout := flags.Bool("oci-layout", false, "the artifact lies in an OCI layout")
	scope := flags.String("scope", "", "what the scopes of the trust policy are compared with")
	isVerbose := flags.Bool("verbose", false, "print why a signature does not count")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	layout, digest, found := strings.Cut(flags.Arg(0), "@")
	if !found || !*isLayout || *scope == "" || os.Getenv("NOTATION_EXPERIMENTAL") != "1" {
		return errors.New("this program verifies OCI layouts only, with a scope, as an experiment")
	}
	if *isVerbose {
		ctx = log.WithLogger(ctx, verbose())
	}
	policy, err := trustpolicy.LoadDocument()
	if err != nil {
		return err
	}
	store := truststore.NewX509TrustStore(dir.ConfigFS())
	judge, err := verifier.New(policy, store, plugin.NewCLIManager(dir.PluginFS()))
	if err != nil {
		return err
	}
	repository, err := registry.NewOCIRepository(layout, registry.RepositoryOptions{})
	if err != nil {
		return err
	}
	_, outcomes, err := notation.Verify(ctx, judge, repository, notation.VerifyOptions{
		ArtifactReference:    *scope + "@" + digest,
		MaxSignatureAttempts: 100,
	})
	if err != nil || len(outcomes) == 0 {
		return explain(err, flags.Arg(0))
	}
	report(outcomes[0], flags.Arg(0))
	return nil
}

// verbose returns a logger of the official program's format.
func verbose() *logrus.Logger {
	logger := logrus.New()
	logger.SetFormatter(&logrus.TextFormatter{DisableTimestamp: true, DisableQuote: true})
	return logger
}

func explain(err error, reference string) error {
	var store truststore.TrustStoreError
	if errors.As(err, &store) {
		return fmt.Errorf("%w. %w", store, store.InnerError)
	}
	var certificate truststore.CertificateError
	if errors.As(err, &certificate) {
		return fmt.Errorf("%w. %w", certificate, certificate.InnerError)
	}
	var failed notation.VerificationFailedError
	if err != nil && !errors.As(err, &failed) {
		return fmt.Errorf("signature verification failed: %w", err)
	}
	return fmt.Errorf(
		"signature verification failed for all the signatures associated with %s", reference)
}

func report(outcome *notation.VerificationOutcome, reference string) {
	for _, each := range outcome.VerificationResults {
		if each.Error != nil {
			fmt.Fprintf(os.Stderr, "Warning: %v was set to %q and failed with error: %v\n",
				each.Type, each.Action, each.Error)
		}
	}
	said := "Successfully verified signature for"
	if reflect.DeepEqual(outcome.VerificationLevel, trustpolicy.LevelSkip) {
		said = "Trust policy is configured to skip signature verification for"
	}
	fmt.Println(said, reference)
}
