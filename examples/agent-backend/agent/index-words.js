// The agent's program, first part. It runs inside the sandbox: `host` and `safepoint` are all it has of the world.
// It reads the word list through a tool and builds an index of one-letter neighbours, which outgrows 64 MiB. Everything
// it has made so far is in global variables and in this suspended function, and so in the checkpoint.

globalThis.words = []
globalThis.byPattern = new Map()
globalThis.byLetters = new Map()
globalThis.neighbours = new Map()

for (;;) {
  const stretch = await host.readWords({ from: words.length })
  if (stretch.length === 0) break
  for (const word of stretch) {
    words.push(word)
    add(byLetters, [...word].sort().join(''), word)
    for (let at = 0; at < word.length; at += 1) add(byPattern, `${word.slice(0, at)}_${word.slice(at + 1)}`, word)
  }
}

let buckets = 0
for (const bucket of byPattern.values()) {
  buckets += 1
  if (buckets % 2_000 === 0) await safepoint()
  for (const word of bucket) for (const other of bucket) if (other !== word) add(neighbours, word, other)
}

function add(index, key, word) {
  const bucket = index.get(key)
  if (bucket === undefined) index.set(key, [word])
  else bucket.push(word)
}

;({ words: words.length, patterns: byPattern.size })
