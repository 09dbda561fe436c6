import subprocess
import sys

CHILD = "from analyzers.memory import peak_rss_mb; before = peak_rss_mb(); x = b'1' * 100_000_000; del x; print(before, peak_rss_mb())"


def test_the_peak_is_this_processs_own_and_counts_what_was_freed() -> None:
    big = b"1" * 400_000_000
    out = subprocess.run([sys.executable, "-c", CHILD], check=True, capture_output=True, text=True).stdout
    del big
    before, after = map(float, out.split())
    assert 5 < before < 200
    assert 95 < after - before < 110
