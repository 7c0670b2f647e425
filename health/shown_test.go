package health

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/sentinel"
)

var rewrite = flag.Bool("rewrite", false, "rewrite what is expected in testdata")

const time10 = 10 * time.Second

// golden compares text with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

// Names and labels are promises to dashboards and alerts.
func TestMetrics(t *testing.T) {
	code, body := calm().get(t, "/metrics")
	if code != 200 || !strings.Contains(body, "go_goroutines") || !strings.Contains(body, "process_open_fds") {
		t.Errorf("%d %s", code, body)
	}
	var ours strings.Builder
	for line := range strings.Lines(body) {
		if strings.Contains(line, "holdfast_") {
			ours.WriteString(line)
		}
	}
	golden(t, "metrics.txt", ours.String())
}

// A Sentinel's words are not always text; the rest of the scrape is unharmed.
func TestMetricsWithOddLabels(t *testing.T) {
	w := calm()
	w.master().Events["+\xff"] = 3
	code, body := w.get(t, "/metrics")
	if code != 200 || !strings.Contains(body, `event="+?"`) || !strings.Contains(body, "holdfast_sentinel_up") {
		t.Errorf("%d %s", code, body)
	}
}

// shown is a status at noon, after an hour.
func shown(w *world) *Status {
	st := w.server().status()
	st.Now, st.Since, st.Uptime = noon, noon.Add(-time.Hour), 3600
	return st
}

func TestText(t *testing.T) {
	w := calm()
	w.sentinel.Sentinels[1].Tilt = true
	w.sentinel.Sentinels[2].Masters[0].Known = false
	var b strings.Builder
	if err := shown(w).WriteText(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "status.txt", b.String())
}

func TestPage(t *testing.T) {
	w := calm()
	var b strings.Builder
	if err := pageTemplate.Execute(&b, shown(w)); err != nil {
		t.Fatal(err)
	}
	golden(t, "page.html", b.String())
}

// Whoever reaches a Sentinel or Redis must not reach the operator's browser.
func TestPageTrustsNobody(t *testing.T) {
	w := calm()
	w.master().View.State = sentinel.Doubt
	w.master().Reason = `<script>alert("x")</script>`
	code, body := w.get(t, "/")
	if code != 200 || strings.Contains(body, "<script") || !strings.Contains(body, "&lt;script&gt;") {
		t.Errorf("%d %s", code, body)
	}
	if !strings.Contains(body, `<span class="bad">not ready</span>`) {
		t.Error("the headline does not say that it is not ready")
	}
}

func TestWords(t *testing.T) {
	for seconds, want := range map[float64]string{
		0: "0ms", 0.0784: "78ms", 1.1: "1.1s", 59.9: "59.9s", 192: "3m12s", 3600: "1h0m", 14700: "4h5m", 1051200: "12d4h",
	} {
		if got := span(seconds); got != want {
			t.Errorf("span(%v) = %q, want %q", seconds, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1 000", 12345678: "12 345 678"} {
		if got := many(n); got != want {
			t.Errorf("many(%d) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 3 << 30: "3.0 GiB", 1<<64 - 1: "16.0 EiB"} {
		if got := bytes(n); got != want {
			t.Errorf("bytes(%d) = %q, want %q", n, got, want)
		}
	}
	if got := ago(noon, time.Time{}); got != "never" {
		t.Errorf("ago of nothing = %q", got)
	}
}
