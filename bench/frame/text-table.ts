/** Rows of text as a table with aligned columns. */

const GAP = '   '
const NUMBER = /^[\d.,±%×≤ -]+$/

/** The first row holds the headings; columns of numbers are aligned to the right. */
export function toTextTable(rows: readonly (readonly string[])[]): string {
  const [headings = [], ...body] = rows
  const columns = headings.map((_, column) => ({
    width: Math.max(...rows.map((row) => row[column]?.length ?? 0)),
    isNumeric: body.every((row) => NUMBER.test(row[column] || '0')),
  }))
  const rule = columns.map(({ width }) => '─'.repeat(width))
  return [headings, rule, ...body]
    .map((row) => columns.map((column, index) => align(row[index] ?? '', column)).join(GAP))
    .map((line) => `${line.trimEnd()}\n`)
    .join('')
}

function align(text: string, { width, isNumeric }: { width: number; isNumeric: boolean }): string {
  return isNumeric ? text.padStart(width) : text.padEnd(width)
}
