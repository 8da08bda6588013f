package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const golden = "../../../core/recording/tests/vectors/ledger"

func TestTheGoldenLogIsIntact(t *testing.T) {
	found, err := verify(golden, golden+"/key", golden+"/known")
	if err != nil {
		t.Fatal(err)
	}
	if found.Size != 300 || found.Known != 258 || found.Leaves["SessionOpened"] != 75 {
		t.Fatalf("%+v", found)
	}
}

func TestTamperingIsFound(t *testing.T) {
	cases := map[string]struct {
		path  string
		alter func([]byte) []byte
	}{
		"a flipped bit in a leaf":  {"tile/entries/000", flip},
		"a flipped bit in a tile":  {"tile/0/000", flip},
		"a flipped bit above":      {"tile/1/000.p/1", flip},
		"a leaf cut off":           {"tile/entries/001.p/44", cut},
		"a tile cut off":           {"tile/0/001.p/44", cut},
		"a smaller tree":           {"checkpoint", replace("\n300\n", "\n299\n")},
		"another signature":        {"checkpoint", replace("\u2014 frostgate.dev/ledger/golden ", "\u2014 frostgate.dev/ledger/golden A")},
		"another known checkpoint": {"known", replace("\n258\n", "\n257\n")},
	}
	for name, tampered := range cases {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			if err := os.CopyFS(folder, os.DirFS(golden)); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(folder, tampered.path)
			bytes, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, tampered.alter(bytes), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := verify(folder, golden+"/key", folder+"/known"); err == nil {
				t.Fatal("accepted")
			}
		})
	}
}

func flip(bytes []byte) []byte {
	bytes[len(bytes)/2] ^= 1
	return bytes
}

func cut(bytes []byte) []byte { return bytes[:len(bytes)-40] }

func replace(old, new string) func([]byte) []byte {
	return func(bytes []byte) []byte { return []byte(strings.Replace(string(bytes), old, new, 1)) }
}
