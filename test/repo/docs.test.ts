/** Each file says in its first sentence what it is for. */

import t from 'tap'
import { type Finding, readProject, type Source, typeScriptOf } from './sources.ts'

/** A line for an interpreter may come first; a blank line ends the file's own comment. */
const OPENING = /^(?:#!.*\n)?\/\*\*([\s\S]*?)\*\/\n(?:\n|$)/

function findDocFaults(sources: readonly Source[]): Finding[] {
  return sources.flatMap(({ path, text }) => {
    const comment = OPENING.exec(text)?.[1]
    if (comment === undefined) return [`${path} does not open with /** … */ and a blank line`]
    const words = comment.replace(/\n\s*\*/g, ' ').trim()
    return /^[\s\S]*?[^.\s]\.(\s|$)/.test(words)
      ? []
      : [`${path} does not open with a sentence and a full stop`]
  })
}

t.test('every file of the project says what it is for', (t) => {
  t.same(findDocFaults(typeScriptOf(readProject())), [])
  t.end()
})

t.test('accepts an opening sentence', (t) => {
  const texts = [
    `/** Says it. */\n\nimport x from 'x'\n`,
    `/**\n * Says it, over\n * two lines. And more\n */\n\nimport x from 'x'\n`,
    `#!/usr/bin/env node\n/** Says it. */\n\nx()\n`,
  ]
  for (const text of texts) t.same(findDocFaults([{ path: 'a.ts', text }]), [], text)
  t.end()
})

t.test('finds files that do not say it', (t) => {
  const texts = [
    '',
    `import x from 'x'\n`,
    `// Says it.\n\nx()\n`,
    `/* Says it. */\n\nx()\n`,
    `/** Says it */\n\nx()\n`,
    `/** */\n\nx()\n`,
    `/** … */\n\nx()\n`,
    `/** Documents the function below. */\nfunction x() {}\n`,
    `import x from 'x'\n\n/** Says it too late. */\n\n`,
  ]
  for (const text of texts) t.equal(findDocFaults([{ path: 'a.ts', text }]).length, 1, text)
  t.end()
})
