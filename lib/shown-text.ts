/** Text of strangers, made fit to be shown: one line with nothing in it that could forge a terminal's picture, and cut. */

/** C0, C1, surrogates, marks that turn text around. */
const UNSHOWABLE = /[\p{C}\p{Zl}\p{Zp}]/gu

export function toShown(text: string, maxCharacters: number): string {
  // Cut first: the rest need not be read.
  const plain = text.slice(0, maxCharacters + 1).replace(UNSHOWABLE, '\u{fffd}')
  return plain.length > maxCharacters ? `${plain.slice(0, maxCharacters - 1)}…` : plain
}
