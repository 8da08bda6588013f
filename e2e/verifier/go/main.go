// Command verifier checks a copy of a Frostgate ledger with Go's own transparency-log packages.
//
// It shares no code with Frostgate: what it accepts, anybody's verifier of these formats accepts.
//
//	go run . [-known FILE] FOLDER KEY
//
// FOLDER holds `checkpoint` and `tile/`, KEY is a verifier key or a file with one. With -known, an
// earlier checkpoint, the log must have grown from it. Prints one JSON object, or fails with the
// first thing that is wrong.
package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const tileHeight = 8

func main() {
	known := flag.String("known", "", "an earlier checkpoint that the log must have grown from")
	flag.Parse()
	if flag.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "usage: verifier [-known FILE] FOLDER KEY")
		os.Exit(2)
	}
	report, err := verify(flag.Arg(0), flag.Arg(1), *known)
	if err != nil {
		fmt.Fprintln(os.Stderr, "not intact:", err)
		os.Exit(1)
	}
	json.NewEncoder(os.Stdout).Encode(report)
}

// A report says what was found intact.
type report struct {
	Origin string         `json:"origin"`
	Size   int64          `json:"size"`
	Known  int64          `json:"known"`
	Leaves map[string]int `json:"leaves"`
}

func verify(folder, key, knownPath string) (*report, error) {
	if text, err := os.ReadFile(key); err == nil {
		key = strings.TrimSpace(string(text))
	}
	origin, tree, err := readCheckpoint(filepath.Join(folder, "checkpoint"), key)
	if err != nil {
		return nil, err
	}
	hashes := tlog.TileHashReader(*tree, &tiles{folder: folder, size: tree.N})
	found := &report{Origin: origin, Size: tree.N, Leaves: map[string]int{}}

	var index int64
	for bundle := int64(0); index < tree.N; bundle++ {
		width := min(tree.N-index, 1<<tileHeight)
		leaves, err := readBundle(folder, bundle, int(width))
		if err != nil {
			return nil, err
		}
		for _, leaf := range leaves {
			proof, err := tlog.ProveRecord(tree.N, index, hashes)
			if err != nil {
				return nil, fmt.Errorf("leaf %d: %w", index, err)
			}
			if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(leaf)); err != nil {
				return nil, fmt.Errorf("leaf %d: %w", index, err)
			}
			var kind struct{ Type string }
			if err := json.Unmarshal(leaf, &kind); err != nil || kind.Type == "" {
				return nil, fmt.Errorf("leaf %d is no leaf of a ledger", index)
			}
			found.Leaves[kind.Type]++
			index++
		}
	}

	if knownPath != "" {
		_, known, err := readCheckpoint(knownPath, key)
		if err != nil {
			return nil, fmt.Errorf("known checkpoint: %w", err)
		}
		if known.N > tree.N {
			return nil, fmt.Errorf("the log has %d leaves and had %d", tree.N, known.N)
		}
		if known.N > 0 {
			proof, err := tlog.ProveTree(tree.N, known.N, hashes)
			if err != nil {
				return nil, err
			}
			if err := tlog.CheckTree(proof, tree.N, tree.Hash, known.N, known.Hash); err != nil {
				return nil, fmt.Errorf("the log did not grow from its first %d leaves: %w", known.N, err)
			}
		}
		found.Known = known.N
	}
	return found, nil
}

// readCheckpoint verifies the signature and reads origin, size and root.
func readCheckpoint(path, key string) (string, *tlog.Tree, error) {
	signed, err := os.ReadFile(path)
	if err != nil {
		return "", nil, err
	}
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return "", nil, err
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return "", nil, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return "", nil, errors.New("malformed checkpoint")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 {
		return "", nil, errors.New("malformed size in checkpoint")
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return "", nil, err
	}
	return lines[0], &tlog.Tree{N: size, Hash: root}, nil
}

// readBundle reads the leaves under one tile of level 0.
func readBundle(folder string, index int64, width int) ([][]byte, error) {
	tile := tlog.Tile{H: tileHeight, L: 0, N: index, W: width}
	place := strings.TrimPrefix(layout(tile), "tile/0/")
	bytes, err := os.ReadFile(filepath.Join(folder, "tile/entries", place))
	if err != nil {
		return nil, err
	}
	var leaves [][]byte
	for len(bytes) > 0 {
		if len(bytes) < 2 {
			return nil, fmt.Errorf("bundle %s is cut off", place)
		}
		length := int(binary.BigEndian.Uint16(bytes))
		if len(bytes) < 2+length {
			return nil, fmt.Errorf("bundle %s is cut off", place)
		}
		leaves = append(leaves, bytes[2:2+length])
		bytes = bytes[2+length:]
	}
	if len(leaves) != width {
		return nil, fmt.Errorf("bundle %s holds %d leaves, not %d", place, len(leaves), width)
	}
	return leaves, nil
}

// tiles reads tiles from the folder for tlog.TileHashReader, which checks them against the root.
type tiles struct {
	folder string
	size   int64
}

func (t *tiles) Height() int { return tileHeight }

func (t *tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	read := make([][]byte, len(wanted))
	for i, tile := range wanted {
		// The reader may ask for fewer hashes than the tree has in this tile.
		full := tile
		full.W = int(min((t.size>>(tileHeight*tile.L))-tile.N<<tileHeight, 1<<tileHeight))
		bytes, err := os.ReadFile(filepath.Join(t.folder, layout(full)))
		if err != nil {
			return nil, err
		}
		if len(bytes) != full.W*tlog.HashSize {
			return nil, fmt.Errorf("%s holds %d bytes", layout(full), len(bytes))
		}
		read[i] = bytes[:tile.W*tlog.HashSize]
	}
	return read, nil
}

func (t *tiles) SaveTiles([]tlog.Tile, [][]byte) {}

// layout is the path of a tile in C2SP tlog-tiles, where the height is fixed and left out.
func layout(tile tlog.Tile) string {
	return "tile/" + strings.TrimPrefix(tile.Path(), "tile/8/")
}
