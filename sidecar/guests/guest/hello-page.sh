#!/bin/sh
# The page of the image "hello", as CGI: who answered, for how long it has been up, and the request as it arrived.

read -r name </proc/sys/kernel/hostname
read -r up rest </proc/uptime
up=${up%.*}
[ "$up" -lt 120 ] && since="$up seconds" || since="$((up / 60)) minutes"

# Only what came with the request, as "Name: value".
list_fields() {
  env | sort | while IFS='=' read -r field value; do
    case $field in
      HTTP_*) echo "${field#HTTP_}: $value" ;;
    esac
  done | awk -F ': ' '{ value = substr($0, length($1) + 3); $1 = tolower($1); gsub("_", "-", $1); print $1 ": " value }'
}

escape() {
  sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g; s/"/\&quot;/g'
}

printf 'Cache-Control: no-store\r\n'
case $HTTP_ACCEPT in
  *text/html*) ;;
  *)
    printf 'Content-Type: text/plain; charset=utf-8\r\n\r\n'
    printf 'Hello from the VM %s, up for %s.\n\n%s %s\n' "$name" "$since" "$REQUEST_METHOD" "$REQUEST_URI"
    list_fields
    exit ;;
esac

line=$(printf '%s %s' "$REQUEST_METHOD" "$REQUEST_URI" | escape)
printf "Content-Type: text/html; charset=utf-8\r\nContent-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; img-src data:\r\n\r\n"
cat <<END
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$name</title>
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark; --ink: #1b2530; --soft: #5b6b7b; --line: #dfe5ea; --ground: #f6f8f9; --card: #fff; --mark: #0a7d5a }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #93a3b3; --line: #2b3640; --ground: #10161c; --card: #182028; --mark: #4ccb9f } }
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
main { max-width: 54rem; margin: 0 auto; padding: 2.5rem 1rem 4rem }
h1 { margin: 0; font-size: 1.9rem } h2 { margin: 0 0 .8rem; font-size: 1.05rem } b { color: var(--mark) }
p { color: var(--soft); margin: .3rem 0 1.6rem }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1.2rem; margin-bottom: 1.2rem }
pre, code { font: 14px/1.6 ui-monospace, monospace; overflow-wrap: anywhere; white-space: pre-wrap; margin: 0 }
ol { margin: 0; padding-left: 1.2rem } li { margin: .4rem 0 }
</style>
</head>
<body>
<main>
<h1>Hello from the VM <b>$name</b></h1>
<p>A Linux machine of its own, up for $since. Load this page again and see.</p>
<section>
<h2>Next</h2>
<ol>
<li>Log in: <code>landfall ssh $name</code></li>
<li>This page is <code>/srv/hello/cgi-bin/index.cgi</code> in it. Change it, or put files beside <code>cgi-bin</code>.</li>
<li>Start a program that listens on another port, and open that port's own address.</li>
</ol>
</section>
<section>
<h2>Your request, as it arrived here</h2>
<pre>$line
$(list_fields | escape)</pre>
</section>
</main>
</body>
</html>
END
