// Logcheck reads a log as any stock client would: with golang.org/x/mod/sumdb/note and tlog, and nothing of ours.
//
//	logcheck -key VKEY [-key VKEY …] [-old FILE] [-entry INDEX=FILE …] [-entries] SOURCE
//
// SOURCE is a directory or a base URL that holds /checkpoint and /tile/…. It opens the checkpoint with the given
// verifier keys (note.Open), proves every record through hash tiles (tlog.TileHashReader, ProveRecord, CheckRecord),
// and proves that the tree extends each of its prefixes (ProveTree, CheckTree). With -old, it also extends the tree of
// that older signed checkpoint; with -entry, the file's content is the record at that index; with -entries, entry
// bundles hash to the leaves. At most -limit records and prefixes, evenly spread, are checked. It prints one JSON line.
package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	tileHeight    = 8
	tileWidth     = 1 << tileHeight
	maxBodyBytes  = 32 << 20
	treeHeader    = "go.sum database tree\n"
	clientTimeout = 30 * time.Second
)

type repeated []string

func (r *repeated) String() string     { return strings.Join(*r, " ") }
func (r *repeated) Set(s string) error { *r = append(*r, s); return nil }

// A source fetches a resource of the log by its path below the prefix.
type source func(path string) ([]byte, error)

func newSource(location string) source {
	if !strings.HasPrefix(location, "http://") && !strings.HasPrefix(location, "https://") {
		return func(path string) ([]byte, error) {
			return os.ReadFile(filepath.Join(location, filepath.FromSlash(path)))
		}
	}
	client := &http.Client{Timeout: clientTimeout}
	return func(path string) ([]byte, error) {
		response, err := client.Get(strings.TrimRight(location, "/") + "/" + path)
		if err != nil {
			return nil, err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("%s: %s", path, response.Status)
		}
		return io.ReadAll(io.LimitReader(response.Body, maxBodyBytes))
	}
}

// Tiles adapts tlog's paths (tile/8/L/N) to those of tlog-tiles (tile/L/N); the tiles themselves are the same.
type tiles struct {
	fetch source
	read  int
}

func (t *tiles) Height() int { return tileHeight }

func (t *tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	contents := make([][]byte, len(wanted))
	for i, tile := range wanted {
		path := "tile/" + strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", tileHeight))
		content, err := t.fetch(path)
		if err != nil {
			return nil, err
		}
		t.read++
		contents[i] = content
	}
	return contents, nil
}

func (t *tiles) SaveTiles([]tlog.Tile, [][]byte) {}

// parseCheckpoint reads origin, size and root with tlog's own parser: the formats differ in the first line only.
func parseCheckpoint(text string) (string, tlog.Tree, error) {
	origin, rest, found := strings.Cut(text, "\n")
	if !found {
		return "", tlog.Tree{}, errors.New("checkpoint without size")
	}
	tree, err := tlog.ParseTree([]byte(treeHeader + rest))
	return origin, tree, err
}

func openCheckpoint(signed []byte, verifiers note.Verifiers) (string, tlog.Tree, []string, error) {
	opened, err := note.Open(signed, verifiers)
	if err != nil {
		return "", tlog.Tree{}, nil, err
	}
	names := []string{}
	for _, signature := range opened.Sigs {
		names = append(names, signature.Name)
	}
	origin, tree, err := parseCheckpoint(opened.Text)
	return origin, tree, names, err
}

func checkRecord(tree tlog.Tree, index int64, leaf tlog.Hash, reader tlog.HashReader) error {
	proof, err := tlog.ProveRecord(tree.N, index, reader)
	if err != nil {
		return err
	}
	return tlog.CheckRecord(proof, tree.N, tree.Hash, index, leaf)
}

func checkTree(tree tlog.Tree, old tlog.Tree, reader tlog.HashReader) error {
	proof, err := tlog.ProveTree(tree.N, old.N, reader)
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash)
}

// checkEntries hashes every entry bundle and compares with the leaves.
func checkEntries(tree tlog.Tree, fetch source, reader tlog.HashReader) (int, error) {
	count := 0
	for first := int64(0); first < tree.N; first += tileWidth {
		tile := tlog.Tile{H: tileHeight, L: -1, N: first / tileWidth, W: int(min(tree.N-first, tileWidth))}
		path := strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/data/", tileHeight), "tile/entries/", 1)
		bundle, err := fetch(path)
		if err != nil {
			return count, err
		}
		for index := first; index < first+int64(tile.W); index++ {
			if len(bundle) < 2 || len(bundle) < 2+int(binary.BigEndian.Uint16(bundle)) {
				return count, fmt.Errorf("%s is cut short", path)
			}
			end := 2 + int(binary.BigEndian.Uint16(bundle))
			if err := checkRecord(tree, index, tlog.RecordHash(bundle[2:end]), reader); err != nil {
				return count, fmt.Errorf("entry %d: %w", index, err)
			}
			bundle = bundle[end:]
			count++
		}
		if len(bundle) != 0 {
			return count, fmt.Errorf("%s has bytes left over", path)
		}
	}
	return count, nil
}

// spread returns at most limit numbers of [first, end), evenly spread, the last one included.
func spread(first, end, limit int64) []int64 {
	step := max(1, (end-first+limit-1)/limit)
	numbers := []int64{}
	for n := end - 1; n >= first; n -= step {
		numbers = append(numbers, n)
	}
	return numbers
}

type report struct {
	Origin     string   `json:"origin"`
	Size       int64    `json:"size"`
	Root       string   `json:"root"`
	Signatures []string `json:"signatures"`
	Records    int      `json:"records"`
	Prefixes   int      `json:"prefixes"`
	Entries    int      `json:"entries"`
	Tiles      int      `json:"tiles"`
}

func run() (*report, error) {
	var keys, entries repeated
	flag.Var(&keys, "key", "verifier key of the log; may be repeated")
	flag.Var(&entries, "entry", "INDEX=FILE: the file's content is that record; may be repeated")
	old := flag.String("old", "", "older signed checkpoint that the log must extend")
	bundles := flag.Bool("entries", false, "check entry bundles too")
	limit := flag.Int64("limit", 500, "how many records and prefixes to check at most")
	flag.Parse()
	if flag.NArg() != 1 || len(keys) == 0 || *limit < 1 {
		return nil, errors.New("usage: logcheck -key VKEY [-old FILE] [-entry INDEX=FILE] [-entries] SOURCE")
	}
	known := []note.Verifier{}
	for _, key := range keys {
		verifier, err := note.NewVerifier(key)
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", key, err)
		}
		known = append(known, verifier)
	}
	verifiers := note.VerifierList(known...)
	fetch := newSource(flag.Arg(0))
	signed, err := fetch("checkpoint")
	if err != nil {
		return nil, err
	}
	origin, tree, names, err := openCheckpoint(signed, verifiers)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	result := &report{Origin: origin, Size: tree.N, Root: tree.Hash.String(), Signatures: names}
	reader := &tiles{fetch: fetch}
	hashes := tlog.TileHashReader(tree, reader)
	for _, index := range spread(0, tree.N, *limit) {
		leaf, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, index)})
		if err != nil {
			return nil, fmt.Errorf("leaf %d: %w", index, err)
		}
		if err := checkRecord(tree, index, leaf[0], hashes); err != nil {
			return nil, fmt.Errorf("record %d: %w", index, err)
		}
		result.Records++
	}
	for _, size := range spread(1, tree.N+1, *limit) {
		root, err := tlog.TreeHash(size, hashes)
		if err != nil {
			return nil, fmt.Errorf("prefix %d: %w", size, err)
		}
		if err := checkTree(tree, tlog.Tree{N: size, Hash: root}, hashes); err != nil {
			return nil, fmt.Errorf("prefix %d: %w", size, err)
		}
		result.Prefixes++
	}
	if *old != "" {
		content, err := os.ReadFile(*old)
		if err != nil {
			return nil, err
		}
		oldOrigin, oldTree, _, err := openCheckpoint(content, verifiers)
		if err != nil || oldOrigin != origin {
			return nil, fmt.Errorf("old checkpoint of %q: %w", oldOrigin, err)
		}
		if err := checkTree(tree, oldTree, hashes); err != nil {
			return nil, fmt.Errorf("old checkpoint: %w", err)
		}
	}
	for _, item := range entries {
		number, file, _ := strings.Cut(item, "=")
		index, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, err
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if err := checkRecord(tree, index, tlog.RecordHash(content), hashes); err != nil {
			return nil, fmt.Errorf("entry %d: %w", index, err)
		}
		result.Entries++
	}
	if *bundles {
		count, err := checkEntries(tree, fetch, hashes)
		if err != nil {
			return nil, err
		}
		result.Entries += count
	}
	result.Tiles = reader.read
	return result, nil
}

func main() {
	result, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "logcheck:", err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		os.Exit(1)
	}
}
