/** A bar chart as SVG: groups of horizontal bars on one scale, with each value written out. */

export interface BarChart {
  readonly title: string
  readonly subtitle: string
  readonly unit: string
  readonly groups: readonly BarGroup[]
}

export interface BarGroup {
  readonly name: string
  /** A group with a unit of its own has a scale of its own as well. */
  readonly unit?: string
  readonly bars: readonly Bar[]
}

export interface Bar {
  readonly name: string
  readonly value: number
  /** Beside the value. */
  readonly note: string
  /** Drawn in the one strong colour. */
  readonly isOurs: boolean
}

const WIDTH = 800
const MARGIN = 28
const LABEL_WIDTH = 104
const NOTE_WIDTH = 232
const HEAD_HEIGHT = 84
const GROUP_HEAD_HEIGHT = 30
const GROUP_GAP = 20
const BAR_HEIGHT = 18
const BAR_STEP = 25
/** Text stands on its base line: this far below the top of a bar it is in the bar's middle. */
const BASE_LINE = 13.5
const PLOT_LEFT = MARGIN + LABEL_WIDTH
const PLOT_WIDTH = WIDTH - MARGIN - NOTE_WIDTH - PLOT_LEFT

const STYLE = `text { font: 13px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #334155 }
.title { font-size: 18px; font-weight: 600; fill: #0f172a } .group { font-weight: 600; fill: #0f172a }
.quiet { fill: #64748b; font-size: 12px } .name { text-anchor: end } .bar { fill: #b6c2d1 }
.ours { fill: #0f766e } .strong { font-weight: 600; fill: #0f172a } .rule { stroke: #e2e8f0 }`

export function toSvg({ title, subtitle, unit, groups }: BarChart): string {
  const common = scaleOf(groups.filter((group) => group.unit === undefined))
  let top = HEAD_HEIGHT
  const drawn = groups.map((group) => {
    const toWidth = group.unit === undefined ? common : scaleOf([group])
    const text = drawGroup(group, { top, unit: group.unit ?? unit, toWidth })
    top += GROUP_HEAD_HEIGHT + group.bars.length * BAR_STEP + GROUP_GAP
    return text
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${top}" viewBox="0 0 ${WIDTH} ${top}" role="img">
<title>${escaped(title)}</title>
<style>${STYLE}</style>
<rect width="100%" height="100%" fill="#fff"/>
${textAt({ x: MARGIN, y: 38, kind: 'title' }, title)}
${textAt({ x: MARGIN, y: 60, kind: 'quiet' }, subtitle)}
${drawn.join('\n')}
</svg>
`
}

/** From zero to the largest value of the groups. */
function scaleOf(groups: readonly BarGroup[]): (value: number) => number {
  const largest = Math.max(0, ...groups.flatMap(({ bars }) => bars.map(({ value }) => value)))
  return (value) => (largest === 0 ? 0 : (value / largest) * PLOT_WIDTH)
}

interface Place {
  /** Of the group or bar. */
  readonly top: number
  readonly unit: string
  readonly toWidth: (value: number) => number
}

function drawGroup({ name, bars }: BarGroup, place: Place): string {
  const { top } = place
  const barsTop = top + GROUP_HEAD_HEIGHT
  return [
    `<line class="rule" x1="${MARGIN}" x2="${WIDTH - MARGIN}" y1="${top}" y2="${top}"/>`,
    textAt({ x: MARGIN, y: top + 20, kind: 'group' }, name),
    ...bars.map((bar, index) => drawBar(bar, { ...place, top: barsTop + index * BAR_STEP })),
  ].join('\n')
}

function drawBar({ name, value, note, isOurs }: Bar, { top, unit, toWidth }: Place): string {
  const width = toWidth(value)
  const base = top + BASE_LINE
  const strong = isOurs ? ' strong' : ''
  return [
    textAt({ x: PLOT_LEFT - 10, y: base, kind: `name${strong}` }, name),
    `<rect class="${isOurs ? 'ours' : 'bar'}" x="${PLOT_LEFT}" y="${top}" width="${width.toFixed(1)}" height="${BAR_HEIGHT}" rx="2"/>`,
    textAt({ x: PLOT_LEFT + width + 8, y: base, kind: `value${strong}` }, `${value.toFixed(1)} ${unit}`),
    textAt({ x: WIDTH - MARGIN, y: base, kind: 'quiet name' }, note),
  ].join('\n')
}

function textAt({ x, y, kind }: { x: number; y: number; kind: string }, text: string): string {
  return `<text class="${kind}" x="${x.toFixed(1)}" y="${y}">${escaped(text)}</text>`
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
