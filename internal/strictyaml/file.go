package strictyaml

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// MaxProblems is how many problems are told at once.
const MaxProblems = 20

// ReadFile reads a whole file of at most so many bytes.
func ReadFile(path string, most int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err != nil {
		return nil, err
	}
	if len(data) > most {
		return nil, fmt.Errorf("%s: the file is larger than %d bytes", path, most)
	}
	return data, nil
}

// Together makes one error of several problems, nil of none, each on a line of its own that begins with the path of
// the file, if there is one.
func Together(path string, problems []error) error {
	if path != "" {
		path += ": "
	}
	var all []error
	for i, p := range problems {
		if i == MaxProblems {
			all = append(all, fmt.Errorf("%sand %d more", path, len(problems)-i))
			break
		}
		all = append(all, fmt.Errorf("%s%w", path, p))
	}
	return errors.Join(all...)
}
