import { BOUNDS } from './worker-protocol.ts'

/**
 * Runs inside the VM before any guest code and gives back one function, which the worker calls and no guest can reach.
 * It captures what it needs of the intrinsics first: a guest may redefine `JSON`, `Promise` or `Map` as it likes and
 * spoils only its own view. The ledger is an object without a prototype, so that no inherited setter or `toJSON` sees
 * its entries. It lives in the VM's memory: calls in flight are part of every checkpoint.
 */
export const guestPrelude = `(function (startCall, nextRandom, writeLine) {
  'use strict'
  const NativePromise = Promise, NativeError = Error, NativeTypeError = TypeError, NativeString = String
  const parse = JSON.parse, stringify = JSON.stringify
  const define = Object.defineProperty, keysOf = Object.keys, freeze = Object.freeze
  const apply = Reflect.apply, sliceOf = String.prototype.slice
  const cut = (text, chars) => text.length > chars ? apply(sliceOf, text, [0, chars]) : text
  const hidden = (name, value) =>
    define(globalThis, name, { __proto__: null, value, writable: true, enumerable: false, configurable: true })

  let ledger = { __proto__: null }, inFlight = 0, lastId = 0

  const call = (name, argument) => new NativePromise((resolve, reject) => {
    if (inFlight >= ${BOUNDS.calls}) throw new NativeError('more than ${BOUNDS.calls} host calls in flight')
    const text = stringify(argument)
    if (text !== undefined && text.length > ${BOUNDS.callChars}) throw new NativeError('the argument of a host call is longer than ${BOUNDS.callChars} characters')
    lastId += 1
    const id = lastId
    ledger[id] = { __proto__: null, name, text, resolve, reject, key: startCall(id, name, text) }
    inFlight += 1
  })

  const show = (value) => {
    if (typeof value === 'string') return value
    try {
      const text = typeof value === 'object' && value !== null ? stringify(value) : undefined
      return text === undefined ? NativeString(value) : text
    } catch { return '[unprintable]' }
  }
  const writer = (level) => (...values) => {
    let text = ''
    for (let at = 0; at < values.length && text.length < ${BOUNDS.consoleChars}; at += 1) text += (at === 0 ? '' : ' ') + cut(show(values[at]), ${BOUNDS.consoleChars})
    writeLine(level, cut(text, ${BOUNDS.consoleChars}))
  }
  hidden('console', { debug: writer('debug'), log: writer('info'), info: writer('info'), warn: writer('warn'), error: writer('error') })
  hidden('safepoint', () => {})
  define(Math, 'random', { __proto__: null, value: () => nextRandom(), writable: true, enumerable: false, configurable: true })

  const listeners = { __proto__: null }, notices = { __proto__: null }
  let listening = 0, firstNotice = 0, nextNotice = 0, delivering = false
  // Called as a job: an await of undefined is one that no guest can get in the way of.
  const deliver = async () => {
    if (delivering || listening === 0 || firstNotice === nextNotice) return
    delivering = true
    await undefined
    delivering = false
    while (firstNotice < nextNotice) {
      const text = notices[firstNotice]
      delete notices[firstNotice]
      firstNotice += 1
      for (let at = 0; at < listening; at += 1) {
        // A notice of its own for each listener; what it throws is its own affair.
        try { apply(listeners[at], undefined, [parse(text)]) } catch {}
      }
    }
  }
  hidden('onNotice', (listener) => {
    if (typeof listener !== 'function') throw new NativeTypeError('onNotice takes a function')
    if (listening >= ${BOUNDS.listeners}) throw new NativeError('more than ${BOUNDS.listeners} listeners for notices')
    listeners[listening] = listener
    listening += 1
    deliver()
  })

  const text = (value, chars) => typeof value === 'string' ? cut(value, chars) : undefined
  const operations = {
    __proto__: null,
    expose(namesText) {
      const host = { __proto__: null }, names = parse(namesText)
      for (let at = 0; at < names.length; at += 1) {
        const name = names[at]
        host[name] = (argument) => call(name, argument)
      }
      hidden('host', freeze(host))
    },
    encode(value) {
      const json = stringify(value)
      if (json === undefined) return ''
      if (json.length > ${BOUNDS.resultChars}) throw new NativeTypeError('the result is longer than ${BOUNDS.resultChars} characters of JSON')
      return json
    },
    describe(thrown) {
      if (typeof thrown !== 'object' || thrown === null) return stringify({ __proto__: null, name: 'Error', message: cut(show(thrown), ${BOUNDS.errorChars}) })
      return stringify({
        __proto__: null,
        name: text(thrown.name, 100) || 'Error',
        message: text(thrown.message, ${BOUNDS.errorChars}) || '',
        stack: text(thrown.stack, ${BOUNDS.errorChars})
      })
    },
    settle(id, fulfilled, answer) {
      const entry = ledger[id]
      if (entry === undefined) return
      delete ledger[id]
      inFlight -= 1
      if (fulfilled) entry.resolve(answer === '' ? undefined : parse(answer))
      else entry.reject(new NativeError(answer))
    },
    pending() {
      const ids = keysOf(ledger), list = []
      for (let at = 0; at < ids.length; at += 1) {
        const entry = ledger[ids[at]]
        define(list, at, { __proto__: null, enumerable: true, value: freeze({ __proto__: null, callId: +ids[at], name: entry.name, argumentJson: entry.text, idempotencyKey: entry.key }) })
      }
      return plain(list)
    },
    tell(notice) {
      notices[nextNotice] = notice
      nextNotice += 1
      if (nextNotice - firstNotice > ${BOUNDS.notices}) {
        delete notices[firstNotice]
        firstNotice += 1
      }
    },
    deliver() { deliver() },
    abandon() { ledger = { __proto__: null }; inFlight = 0 }
  }
  // An array literal inherits toJSON from whatever the guest has put on Array.prototype; shadow it.
  const plain = (list) => stringify(define(list, 'toJSON', { __proto__: null, value: undefined }))
  return (operation, a, b, c) => operations[operation](a, b, c)
})`
