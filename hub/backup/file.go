package backup

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"time"
)

// magic begins a file; the number is that of the format.
const magic = "flotilla hub backup 1\n"

// maxRecord is the longest key or value that is read back; etcd takes no request that large.
const maxRecord = 64 << 20

// Header says what a file holds.
type Header struct {
	// Revision of etcd at which all keys were read.
	Revision int64 `json:"revision"`
	// Prefix of the keys.
	Prefix string `json:"prefix"`
	// Taken is when.
	Taken time.Time `json:"taken"`
	// Etcd is the cluster it was taken from, and its version.
	Etcd    string `json:"etcd"`
	Version string `json:"version"`
}

// Summary is what a file turned out to hold.
type Summary struct {
	Header
	// Keys in the file, and their size and that of their values.
	Keys  int
	Bytes int64
	// File is its size on disk.
	File int64
	// SHA256 of what is in it.
	SHA256 string
}

// String is the summary for people.
func (s Summary) String() string {
	return fmt.Sprintf("revision %d of etcd %s (%s), taken %s: %d keys under %q, %d bytes, %d in the file, sha256 %s",
		s.Revision, s.Etcd, s.Version, s.Taken.UTC().Format(time.RFC3339), s.Keys, s.Prefix, s.Bytes, s.File, s.SHA256)
}

// writer writes a file: the magic, and compressed the header, every key with its value, an empty key, their number and the
// checksum of all that. Every piece is preceded by its length.
type writer struct {
	out     io.Writer
	sum     hash.Hash
	summary Summary
}

func newWriter(out io.Writer, h Header) (*writer, error) {
	sum := sha256.New()
	w := &writer{out: io.MultiWriter(out, sum), sum: sum, summary: Summary{Header: h}}
	raw, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	return w, w.piece(raw)
}

func (w *writer) piece(p []byte) error {
	if _, err := w.out.Write(binary.AppendUvarint(nil, uint64(len(p)))); err != nil {
		return err
	}
	_, err := w.out.Write(p)
	return err
}

func (w *writer) add(key, value []byte) error {
	if len(key) == 0 {
		return errors.New("a key is empty")
	}
	w.summary.Keys++
	w.summary.Bytes += int64(len(key) + len(value))
	return errors.Join(w.piece(key), w.piece(value))
}

func (w *writer) end() error {
	if err := errors.Join(w.piece(nil), w.piece(binary.AppendUvarint(nil, uint64(w.summary.Keys)))); err != nil {
		return err
	}
	return w.piece(w.sum.Sum(nil))
}

// save writes a file whole or not at all, readable by its owner only: secrets are in it. What was written is read back.
func save(path string, h Header, fill func(add func(key, value []byte) error) error) (Summary, error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".hub-backup-*")
	if err != nil {
		return Summary{}, fmt.Errorf("make backup file: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	err = errors.Join(writeAll(tmp, h, fill), tmp.Close())
	if err != nil {
		return Summary{}, fmt.Errorf("write backup file: %w", err)
	}
	summary, err := Load(tmp.Name(), nil)
	if err != nil {
		return Summary{}, fmt.Errorf("read back what was written: %w", err)
	}
	return summary, os.Rename(tmp.Name(), path)
}

func writeAll(f *os.File, h Header, fill func(add func(key, value []byte) error) error) error {
	if _, err := f.WriteString(magic); err != nil {
		return err
	}
	packed := gzip.NewWriter(f)
	w, err := newWriter(packed, h)
	if err != nil {
		return err
	}
	if err := fill(w.add); err != nil {
		return err
	}
	return errors.Join(w.end(), packed.Close(), f.Sync())
}

// errDamaged: the file is not what was written.
var errDamaged = errors.New("the backup file is damaged or cut off")

// Load reads a file and hands every key on, if anybody wants them. What was handed on counts only when it returns
// without error, because the checksum comes last.
func Load(path string, each func(key, value []byte) error) (Summary, error) {
	f, err := os.Open(path)
	if err != nil {
		return Summary{}, fmt.Errorf("open backup file: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return Summary{}, fmt.Errorf("open backup file: %w", err)
	}
	begin := make([]byte, len(magic))
	if _, err := io.ReadFull(f, begin); err != nil || string(begin) != magic {
		return Summary{}, fmt.Errorf("%s is no backup of \"hub backup\", or of another version", path)
	}
	packed, err := gzip.NewReader(f)
	if err != nil {
		return Summary{}, errors.Join(errDamaged, err)
	}
	s, err := read(packed, each)
	s.File = info.Size()
	return s, err
}

// reader sums up what it reads.
type reader struct {
	in  *bufio.Reader
	sum hash.Hash
}

func read(in io.Reader, each func(key, value []byte) error) (Summary, error) {
	r := &reader{bufio.NewReaderSize(in, 1<<16), sha256.New()}
	raw, err := r.piece()
	if err != nil {
		return Summary{}, err
	}
	var s Summary
	if err := json.Unmarshal(raw, &s.Header); err != nil {
		return Summary{}, errors.Join(errDamaged, err)
	}
	for {
		key, err := r.piece()
		if err != nil {
			return s, err
		}
		if len(key) == 0 {
			return s, r.check(&s)
		}
		value, err := r.piece()
		if err != nil {
			return s, err
		}
		s.Keys, s.Bytes = s.Keys+1, s.Bytes+int64(len(key)+len(value))
		if each == nil {
			continue
		}
		if err := each(key, value); err != nil {
			return s, err
		}
	}
}

func (r *reader) piece() ([]byte, error) {
	n, err := binary.ReadUvarint(r.in)
	if err != nil || n > maxRecord {
		return nil, errors.Join(errDamaged, err)
	}
	p := make([]byte, n)
	if _, err := io.ReadFull(r.in, p); err != nil {
		return nil, errors.Join(errDamaged, err)
	}
	r.sum.Write(binary.AppendUvarint(nil, n))
	r.sum.Write(p)
	return p, nil
}

func (r *reader) check(s *Summary) error {
	count, err := r.piece()
	if err != nil {
		return err
	}
	if n, _ := binary.Uvarint(count); n != uint64(s.Keys) {
		return fmt.Errorf("%w: it says %d keys and has %d", errDamaged, n, s.Keys)
	}
	want := r.sum.Sum(nil)
	got, err := r.piece()
	if err != nil {
		return err
	}
	if !bytes.Equal(want, got) {
		return fmt.Errorf("%w: its checksum is wrong", errDamaged)
	}
	// The end of the compressed stream has a checksum of its own.
	if _, err := r.in.ReadByte(); !errors.Is(err, io.EOF) {
		return errors.Join(errDamaged, err)
	}
	s.SHA256 = fmt.Sprintf("%x", got)
	return nil
}
