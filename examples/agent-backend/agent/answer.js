// The agent's program, second part: three questions, answered from the index that the first part left in memory.

function ladder(from, to) {
  const cameFrom = new Map([[from, undefined]])
  let frontier = [from]
  while (frontier.length > 0 && !cameFrom.has(to)) {
    const next = []
    for (const word of frontier) {
      for (const other of neighbours.get(word) ?? []) {
        if (cameFrom.has(other)) continue
        cameFrom.set(other, word)
        next.push(other)
      }
    }
    frontier = next
  }
  const steps = []
  for (let word = cameFrom.has(to) ? to : undefined; word !== undefined; word = cameFrom.get(word)) steps.unshift(word)
  return steps
}

const family = [...byLetters.values()].reduce((largest, next) => (next.length > largest.length ? next : largest))
let pairs = 0
for (const others of neighbours.values()) pairs += others.length

;({ words: words.length, ladder: ladder('crash', 'saves'), anagrams: family, neighbourPairs: pairs / 2 })
