/** Lays out texts in columns that fit a terminal. */

/** Rows of texts under titles; the first column names the row and is never cut. */
export interface TextTable {
  readonly titles: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

export interface Terminal {
  /** Undefined where lines may have any length. */
  readonly columns?: number
  readonly hasColours: boolean
}

const GAP = '  '
const MIN_COLUMN = 6
/** C0, C1, line separators and the marks that turn text around: what could forge the terminal's picture. */
const CONTROLS = /[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu
const WIDE =
  /^(?:\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}])/u
const SEGMENTS = new Intl.Segmenter('en')

/** Text of others, harmless for a terminal. */
export function harmless(text: string): string {
  return text.replace(CONTROLS, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`)
}

/** Lines without their ends. */
export function layOut({ titles, rows }: TextTable, { columns, hasColours }: Terminal): string[] {
  const cells = [titles, ...rows.map((row) => row.map(harmless))]
  const natural = titles.map((_, at) => Math.max(...cells.map((row) => widthOf(row[at] ?? ''))))
  const widths = columns === undefined ? natural : fit(natural, columns)
  return cells.map((row, line) => {
    const text = row
      .map((cell, at) => padded(cell, widths[at] ?? 0))
      .join(GAP)
      .trimEnd()
    return line === 0 && hasColours ? `\u001b[1m${text}\u001b[0m` : text
  })
}

/** Takes from the widest column but the first until the line fits. */
function fit(natural: readonly number[], columns: number): number[] {
  const widths = [...natural]
  const gaps = GAP.length * (widths.length - 1)
  let excess = widths.reduce((sum, width) => sum + width, gaps) - columns
  while (excess > 0) {
    const widest = widths.reduce((best, width, at) => (at > 0 && width > (widths[best] ?? 0) ? at : best), 1)
    if ((widths[widest] ?? 0) <= MIN_COLUMN) break
    widths[widest] = (widths[widest] ?? 0) - 1
    excess -= 1
  }
  return widths
}

function padded(text: string, width: number): string {
  const cut = shortened(text, width)
  return cut + ' '.repeat(Math.max(0, width - widthOf(cut)))
}

/** At most `width` cells, with an ellipsis where something is left out. */
export function shortened(text: string, width: number): string {
  if (widthOf(text) <= width) return text
  let cut = ''
  for (const { segment } of SEGMENTS.segment(text)) {
    if (widthOf(cut) + widthOf(segment) > width - 1) break
    cut += segment
  }
  return `${cut}…`
}

/** Cells of a terminal that the text takes. */
export function widthOf(text: string): number {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: plain ASCII needs no segmenting
  if (/^[\u0000-\u007f]*$/.test(text)) return text.length
  return [...SEGMENTS.segment(text)].reduce((sum, { segment }) => sum + (WIDE.test(segment) ? 2 : 1), 0)
}
