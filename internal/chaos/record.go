package chaos

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Record is one run, as a line of JSON in a file of results.
type Record struct {
	Setting
	Fault   string    `json:"fault"`
	Began   time.Time `json:"began"`
	Took    float64   `json:"took"`              // seconds
	Failure string    `json:"failure,omitempty"` // why there is no verdict
	Verdict *Verdict  `json:"verdict,omitempty"`
}

// Setting is what is judged.
type Setting struct {
	Endpoint string `json:"endpoint"`
	Mode     string `json:"mode,omitempty"` // of a holdfast's listener; "": its default
	Release  string `json:"release"`        // "confirmed" or "promoted"
}

// longestRecord bounds one line. The events and details of a run are bounded.
const longestRecord = 1 << 20

// ReadRecords reads a file of results.
func ReadRecords(r io.Reader) (all []Record, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, longestRecord)
	for lines.Scan() {
		var one Record
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			return nil, fmt.Errorf("line %d: %w", len(all)+1, err)
		}
		all = append(all, one)
	}
	return all, lines.Err()
}

// Results puts the runs of the same fault and setting together, in the order of
// Faults. Runs of a fault that no longer exists are left out.
func Results(records []Record) (all []Result) {
	for _, f := range Faults {
		var of []Result
		for _, r := range records {
			if r.Fault != f.Name {
				continue
			}
			i := slices.IndexFunc(of, func(o Result) bool { return o.Setting == r.Setting })
			if i < 0 {
				i, of = len(of), append(of, Result{Fault: f, Setting: r.Setting})
			}
			of[i].add(r)
		}
		all = append(all, of...)
	}
	return all
}

func (r *Result) add(one Record) {
	r.took += one.Took
	if one.Verdict == nil {
		r.Failures = append(r.Failures, errors.New(one.Failure))
		return
	}
	r.Verdicts = append(r.Verdicts, one.Verdict)
}
