/** Problems as RFC 9457 has them: every member that a reader may rely on, and none of what is for the log. */

import t from 'tap'
import { type Fault, LandfallError } from '../../lib/errors.ts'
import { problemOf, toProblem } from '../../lib/problem.ts'

const FAULT: Fault = {
  status: 422,
  source: 'client',
  retryable: false,
  title: 'It is wrong',
  next: 'Mend it.',
}

t.test('says what happened, whose code it is and what to do', async (t) => {
  t.same(toProblem('it_wrong', FAULT, {}), {
    ...{
      type: '/.landfall/errors#it_wrong',
      title: 'It is wrong',
      status: 422,
      code: 'it_wrong',
      next: 'Mend it.',
    },
    retryable: false,
  })
})

t.test('adds detail, field and request id where there are any', async (t) => {
  const more = { detail: 'at the end', requestId: '0123', field: '/port' }
  t.match(toProblem('it_wrong', FAULT, more), more)
  t.notOk('detail' in toProblem('it_wrong', FAULT, {}), 'and leaves them out where there are none')
})

t.test('shows of an error its detail and field, but neither cause nor other context', async (t) => {
  const error = new LandfallError('it_wrong', FAULT, {
    ...{ detail: 'at the end', cause: new Error('secret cause') },
    context: { field: '/port', host: 'secret-host' },
  })
  const problem = problemOf(error, '0123')
  t.match(problem, { code: 'it_wrong', detail: 'at the end', field: '/port', requestId: '0123' })
  t.notMatch(JSON.stringify(problem), /secret|stack/)
})

t.test('an error is its title, unless it has a detail', async (t) => {
  t.equal(new LandfallError('it_wrong', FAULT).message, 'It is wrong')
  t.equal(new LandfallError('it_wrong', FAULT, { detail: 'at the end' }).message, 'at the end')
  t.notOk('detail' in problemOf(new LandfallError('it_wrong', FAULT)), 'the title is not said twice')
  t.notOk('field' in problemOf(new LandfallError('it_wrong', FAULT, { context: { field: 7 } })))
})

t.test('an error knows its class, its code and its cause', async (t) => {
  class SpecialError extends LandfallError {}
  const cause = new Error('x')
  const error = new SpecialError('it_wrong', FAULT, { cause })
  t.match(error, { name: 'SpecialError', code: 'it_wrong', fault: FAULT, cause, context: {} })
  t.notOk(Object.hasOwn(new LandfallError('it_wrong', FAULT), 'cause'), 'no cause where there was none')
})
