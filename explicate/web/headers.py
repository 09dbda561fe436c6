"""What every answer tells the browser: to run no script but ours, to load nothing from elsewhere, to be framed by nobody."""

# Style attributes place the marks of charts and shade words, in templates that the static reports share; what could reach an attribute is
# escaped, and neither a picture nor a font of another host loads. No script but a file of ours runs.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
"""Of every answer that has not set its own."""
