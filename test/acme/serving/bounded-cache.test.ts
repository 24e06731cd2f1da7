/** A bounded map that keeps what is asked for again. */

import t from 'tap'
import { BoundedCache } from '../../../acme/serving/bounded-cache.ts'

t.test('never holds more than its limit', (t) => {
  for (const limit of [1, 2, 3, 10]) {
    const cache = new BoundedCache<number>(limit)
    for (let key = 0; key < 200; key += 1) {
      cache.set(`k${key % 37}`, key)
      cache.find(`k${key % 11}`)
      if (key % 5 === 0) cache.delete(`k${key % 7}`)
      t.ok(cache.size <= limit)
      t.equal(cache.find(`k${key % 37}`) ?? key, key)
    }
  }
  t.end()
})

t.test('keeps what was asked for twice while others come once', (t) => {
  const cache = new BoundedCache<string>(5)
  cache.set('hot', 'value')
  cache.find('hot')
  for (let key = 0; key < 100; key += 1) cache.set(`walk${key}`, 'x')
  t.equal(cache.find('hot'), 'value')
  t.equal(cache.size, 5)
  t.end()
})

t.test('drops what was not used for longest', (t) => {
  const cache = new BoundedCache<number>(5)
  for (const key of ['a', 'b', 'c', 'd', 'e']) {
    cache.set(key, 1)
    cache.find(key)
  }
  cache.find('a')
  cache.set('f', 1)
  t.same(
    ['a', 'b', 'c', 'd', 'e', 'f'].filter((key) => cache.find(key)),
    ['a', 'c', 'd', 'e', 'f'],
  )
  t.end()
})

t.test('a value that is set again stays where it is', (t) => {
  const cache = new BoundedCache<number>(2)
  cache.set('a', 1)
  cache.find('a')
  cache.set('a', 2)
  cache.set('b', 3)
  cache.set('c', 4)
  t.equal(cache.find('a'), 2)
  t.end()
})

t.test('what was used since goes after what was not, however old it is', (t) => {
  const cache = new BoundedCache<number>(5)
  for (const key of ['a', 'b', 'c', 'd']) {
    cache.set(key, 1)
    cache.find(key)
  }
  cache.find('a')
  cache.find('b')
  for (const key of ['e', 'f']) {
    cache.set(key, 1)
    cache.find(key)
  }
  t.same(
    ['a', 'b', 'c', 'd', 'e', 'f'].filter((key) => cache.find(key)),
    ['a', 'b', 'd', 'e', 'f'],
  )
  t.end()
})

t.test('tells of what had to make room, and of nothing else', (t) => {
  const dropped: string[] = []
  const cache = new BoundedCache<number>(2, (key) => dropped.push(key))
  cache.set('a', 1)
  cache.set('a', 2)
  cache.set('b', 1)
  cache.delete('b')
  cache.set('c', 1)
  t.same(dropped, [])
  cache.set('d', 1)
  t.same(dropped, ['a'])
  t.end()
})
