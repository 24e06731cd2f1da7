/** Words that HTTP parsers are known to read differently, one list for each place. */

/** Splits at spaces; `·` stands for a space, the other names for what cannot be seen. */
function words(text: string): string[] {
  return text
    .trim()
    .split(/\s+/)
    .map((word) => word.replace(/·|TAB|CR|LF|NUL|VT|DEL|NBSP|NONE/g, (name) => SIGNS[name] ?? ''))
}

const SIGNS: Readonly<Record<string, string>> = {
  '·': ' ',
  TAB: '\t',
  CR: '\r',
  LF: '\n',
  NUL: '\0',
  VT: '\x0b',
  DEL: '\x7f',
  NBSP: '\xa0',
}

/** For anywhere. */
export const BYTES = words(`
  CR LF CRLF LFCR NUL \x01 VT DEL \x80 \x85 NBSP \xff · TAB : ; , = " \\ 0 1 a F g + - _ ( CRLFCRLF 0CRLFCRLF
`)

export const VERSIONS = words(
  'HTTP/1.0 HTTP/1.1 HTTP/0.9 HTTP/2.0 HTTP/1.2 HTTP/11 http/1.1 HTTP/1.1· RTSP/1.0 ICE/1.0',
)
export const CODES = words('000 099 100 101 102 200 204 205 304 599 600 999 20 2000 2x0 -20 NONE')
export const REASONS = words('NONE · ··OK ·OKNUL ·OK\x01 ·\xff ·OCRK ·OLFK ·OTABK OK TABOK')

export const NAMES = words(`
  Content-Length content-length Content-Length· ·Content-Length Content_Length Content-LengthTAB ContentLength
  Transfer-Encoding transfer-encoding Transfer-Encoding· Transfer_Encoding Trailer Connection Proxy-Connection
  Keep-Alive Upgrade X NONE · NBSPX XNUL X( H\xe9
`)

export const VALUES = words(`
  0 5 05 +5 -5 5· 5TAB 5VT 5,5 5,·5 5·5 0x5 5.0 1e1 NONE 99999999999999999999 9007199254740993 18446744073709551621
  chunked Chunked identity gzip gzip,·chunked chunked,·gzip chunked,·chunked chunked;q=1 TABchunked chunkedTAB
  chunked· chunked·TAB ,chunked chunked, "chunked" VTchunked chunkedVT xchunked chunke chunkedx
  close keep-alive upgrade close,·upgrade CLOSE clos closeNBSP closeTAB "close" close;x ,close close, x,closeTAB,y
  keep-alive,·close close·x
  websocket h2c WebSocket aNULb aDELb aCRb aLFb aCRLF·b aCRLFTABb ·TAB VT \xff
`)

/** Chunk-size lines. */
export const SIZES = words(`
  0 00 5· ·5 5TAB +5 -1 0x5 5; 5;; 5;·a 5;a· 5·;a 5;a= 5;a=" 5;a="b" 5;a="b"· 5;a="b";c 5;a="\\" 5;a="\\NUL"
  5;a="\\"" 5;a="\xff" 5;a="NUL" 5;a="DEL" 5;\xff 5;a=\x01 5;= 5;=b 5;a== 5;"a" 5;a=b=c 5;a;b=c 5;a=b"c" g NONE 5CR
  5NUL 5DEL FFFFFFFFFFFF FFFFFFFFFFFFF 10000000000000000 10000000000000005 0000000000005 00000000000000005
`)

export const LINE_ENDS = words('CRLF CRLF CRLF CRLF CRLF CRLF LF CR CRCRLF')
