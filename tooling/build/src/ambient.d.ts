/** A Redis script, as text. */
declare module '*.lua' {
  const text: string
  export default text
}

/** A worker and everything it imports, bundled into one CommonJS text. */
declare module '*?worker-text' {
  const text: string
  export default text
}
