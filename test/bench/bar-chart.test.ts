/** The picture of a benchmark: bars as long as their values, text that cannot break the file. */

import t from 'tap'
import { type BarChart, toSvg } from '../../bench/frame/bar-chart.ts'

function chartOf(values: readonly number[], name = 'a'): BarChart {
  const bars = values.map((value) => ({ name, value, note: '', isOurs: value === 20 }))
  return { title: 'Title', subtitle: '', unit: 'µs', groups: [{ name: 'group', bars }] }
}

function widthsIn(svg: string): number[] {
  return [...svg.matchAll(/<rect class="\w+" .*?width="([\d.]+)"/g)].map(([, width]) => Number(width))
}

t.test('bars are as long as their values, on one scale from zero', (t) => {
  const [first = 0, second = 0, third = 0] = widthsIn(toSvg(chartOf([10, 20, 40])))
  t.ok(first > 0)
  t.equal(Math.round(second / first), 2)
  t.equal(Math.round(third / first), 4)
  t.end()
})

t.test('one bar is ours', (t) => {
  const kinds = [...toSvg(chartOf([10, 20, 40])).matchAll(/<rect class="(\w+)"/g)].map(([, kind]) => kind)
  t.same(kinds, ['bar', 'ours', 'bar'])
  t.end()
})

t.test('a group with a unit of its own has a scale of its own', (t) => {
  const { groups, ...chart } = chartOf([10, 20])
  const bars = [{ name: 'own', value: 1_000, note: '', isOurs: false }]
  const svg = toSvg({ ...chart, groups: [...groups, { name: 'other', unit: 'MB', bars }] })
  const [first = 0, second = 0, third = 0] = widthsIn(svg)
  t.equal(Math.round(second / first), 2)
  t.equal(third, second)
  t.match(svg, />1000.0 MB</)
  t.match(svg, />20.0 µs</)
  t.end()
})

t.test('everything lies inside the picture', (t) => {
  const svg = toSvg(chartOf(Array.from({ length: 30 }, (_, index) => index)))
  const [, height] = /viewBox="0 0 800 (\d+)"/.exec(svg) ?? []
  const places = [...svg.matchAll(/ y="([\d.]+)"/g)].map(([, y]) => Number(y))
  t.ok(Math.max(...places) < Number(height))
  t.end()
})

t.test('draws nothing where there is nothing', (t) => {
  t.same(widthsIn(toSvg(chartOf([]))), [])
  t.same(widthsIn(toSvg(chartOf([0, 0]))), [0, 0])
  t.end()
})

t.test('text is no markup', (t) => {
  const svg = toSvg(chartOf([1], '</text><script>&'))
  t.match(svg, '&lt;/text&gt;&lt;script&gt;&amp;')
  t.notMatch(svg, '<script>')
  t.end()
})
