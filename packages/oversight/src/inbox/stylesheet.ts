/**
 * Calm and typographic: one column on a phone from 320 px, two beside each other on a desk. Colours are pairs of a light and
 * a dark scheme with at least 4.5 : 1 between text and ground, and none of them says what words do not. Everything that is
 * pressed is 44 px high or more.
 */
const source = `
:root {
  color-scheme: light dark;
  --ground: #faf9f6;
  --sheet: #fff;
  --ink: #1d1c1a;
  --quiet: #5d5a54;
  --line: #dad6cc;
  --edge: #8a857a;
  --accent: #1d5a48;
  --on-accent: #fff;
  --focus: #1558c0;
  --low: #33633f;
  --medium: #705200;
  --high: #9c3900;
  --critical: #a0113a;
  --good: #33633f;
  --bad: #a0113a;
  --serif: Charter, "Bitstream Charter", "Sitka Text", Cambria, Georgia, serif;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", sans-serif;
  --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #161513;
    --sheet: #1f1e1b;
    --ink: #ece9e2;
    --quiet: #aba69b;
    --line: #3b3832;
    --edge: #7d786d;
    --accent: #93d4b9;
    --on-accent: #10231b;
    --focus: #8db8ff;
    --low: #9fd0ab;
    --medium: #e6c46c;
    --high: #ffa574;
    --critical: #ff91a8;
    --good: #9fd0ab;
    --bad: #ff91a8;
  }
}
*, ::before, ::after { box-sizing: border-box; }
[hidden] { display: none !important; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; scroll-padding-top: 1rem; }
body {
  margin: 0 auto;
  padding: 0 1rem 4rem;
  max-width: 68rem;
  background: var(--ground);
  color: var(--ink);
  font: 1rem/1.5 var(--sans);
  overflow-wrap: anywhere;
}
h1, h2, h3 { font-family: var(--serif); font-weight: 600; line-height: 1.25; text-wrap: balance; }
h1 { font-size: 1.625rem; margin: 1rem 0 .5rem; }
h2 { font-size: 1.1875rem; margin: 0 0 .5rem; }
h3 { font-size: 1rem; margin: .75rem 0 .25rem; }
h3 .quiet { font: 400 .9375rem var(--sans); }
p, ul, ol, dl { margin: 0 0 .75rem; }
a { color: var(--accent); text-underline-offset: .2em; }
:focus-visible { outline: 3px solid var(--focus); outline-offset: 2px; border-radius: 2px; }
main:focus, [tabindex="-1"]:focus:not(:focus-visible) { outline: 0; }
code, pre, .json, kbd { font-family: var(--mono); font-size: .875em; }
pre { margin: 0 0 .75rem; padding: .75rem; max-height: 24rem; overflow: auto; white-space: pre-wrap; border: 1px solid var(--line); background: var(--sheet); }
q, blockquote { font-family: var(--serif); }
blockquote { margin: 0; white-space: pre-wrap; }
time { white-space: nowrap; }
.quiet, .absolute { color: var(--quiet); }
.absolute { font-size: .875em; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.skip { position: absolute; left: 1rem; top: -4rem; z-index: 1; padding: .625rem 1rem; background: var(--sheet); }
.skip:focus { top: .5rem; }

.top { display: flex; flex-wrap: wrap; align-items: center; gap: 0 1.5rem; border-bottom: 1px solid var(--line); }
.brand { display: inline-flex; align-items: center; min-height: 44px; color: inherit; font: 600 1.0625rem var(--serif); text-decoration: none; }
.top ul, .pager ul { display: flex; flex-wrap: wrap; gap: 0 1rem; margin: 0; padding: 0; list-style: none; }
.top nav a, .pager a, .back a { display: inline-flex; align-items: center; min-height: 44px; min-width: 44px; }
.top nav a { color: inherit; text-decoration: none; border: 0 solid transparent; border-width: 2px 0; }
.top nav a[aria-current] { border-bottom-color: currentcolor; font-weight: 600; }
.who { margin: 0 0 0 auto; color: var(--quiet); }
.bottom { margin-top: 3rem; }
.back { margin: .25rem 0 0; }

button, .button, input, select, textarea { font: inherit; color: inherit; }
button, .button {
  display: inline-flex; align-items: center; justify-content: center;
  min-height: 44px; min-width: 44px; padding: .5rem 1.125rem;
  border: 1px solid var(--edge); border-radius: 6px; background: var(--sheet); text-decoration: none; cursor: pointer;
}
button:hover, .button:hover { border-color: var(--ink); }
button:disabled { opacity: .6; cursor: default; }
.approve { background: var(--accent); border-color: var(--accent); color: var(--on-accent); font-weight: 600; }
.deny { border-color: var(--bad); color: var(--bad); font-weight: 600; }
.plain { border-color: transparent; background: none; text-decoration: underline; text-underline-offset: .2em; padding-inline: 0; }
input:not([type=checkbox]), select, textarea {
  width: 100%; min-height: 44px; padding: .5rem .625rem;
  border: 1px solid var(--edge); border-radius: 6px; background: var(--sheet);
}
textarea { resize: vertical; line-height: 1.45; }
input[type=checkbox] { width: 1.25rem; height: 1.25rem; margin: 0; accent-color: var(--accent); }
[aria-invalid] { border-color: var(--bad) !important; border-width: 2px !important; }
label { display: block; margin-bottom: .25rem; font-weight: 600; }
label .quiet { font-weight: 400; }
.check { display: inline-flex; align-items: center; gap: .5rem; min-height: 44px; font-weight: 400; }
form > textarea { margin-bottom: .75rem; }
.buttons { display: flex; flex-wrap: wrap; gap: .75rem; max-width: 32rem; }
.buttons button { flex: 1 1 8rem; }
.error { margin: 0 0 .375rem; color: var(--bad); font-weight: 600; }
ul.error { padding-left: 1.25rem; }

.news { display: flex; align-items: center; gap: 0 .75rem; min-height: 3.25rem; margin-inline: -1rem; padding-inline: 1rem; color: var(--quiet); }
.news p { margin: 0; }
.news:has(button:not([hidden])) { position: sticky; top: 0; z-index: 1; background: var(--ground); color: var(--ink); box-shadow: 0 1px 0 var(--line); }
.news button { border-color: var(--accent); color: var(--accent); font-weight: 600; flex: none; }
html:has(.news button:not([hidden])) { scroll-padding-top: 4.5rem; }
html:has(.requests input:checked) { scroll-padding-bottom: 11rem; }
.filter { display: grid; grid-template-columns: 1fr; gap: .5rem 1rem; align-items: end; margin: .5rem 0 1rem; }
.field label { font-weight: 400; color: var(--quiet); }
.requests > ol, .batch { margin: 0; padding: 0; list-style: none; }
.request {
  display: grid; grid-template-columns: 44px minmax(0, 1fr); padding: .5rem .75rem .5rem .25rem;
  background: var(--sheet); border: 1px solid var(--line); border-left: 5px solid var(--line); border-radius: 6px; margin-bottom: .625rem;
}
.request h2 { font-size: 1.0625rem; margin: 0; }
.batch h2 { font-size: 1.0625rem; margin: 0; }
.request h2 a, .batch h2 a { display: flex; align-items: center; min-height: 44px; color: inherit; text-decoration: none; }
.request h2 a:hover, .batch h2 a:hover { text-decoration: underline; }
.request:has(input:checked) { box-shadow: 0 0 0 1px var(--accent); }
.request.gone .about { color: var(--quiet); }
.pick { display: flex; align-items: center; justify-content: center; width: 44px; height: 44px; margin: 0; }
.facts { display: flex; flex-wrap: wrap; gap: .125rem .75rem; align-items: baseline; margin: 0 0 .25rem; font-size: .9375rem; }
.facts:empty { display: none; }
.badge { padding: 0 .5em; border: 1px solid currentcolor; border-radius: 4px; font-size: .8125rem; font-weight: 600; }
.risk-low { color: var(--low); }
.risk-medium { color: var(--medium); }
.risk-high { color: var(--high); }
.risk-critical { color: var(--sheet); background: var(--critical); border-color: var(--critical); }
.status-approved { color: var(--good); }
.status-denied, .status-revoked { color: var(--bad); }
.edge-low { border-left-color: var(--low); }
.edge-medium { border-left-color: var(--medium); }
.edge-high { border-left-color: var(--high); }
.edge-critical { border-left-color: var(--critical); }
.warning, .notice { margin: .5rem 0; padding: .625rem .75rem; border: 1px solid var(--high); border-left-width: 5px; border-radius: 6px; background: var(--sheet); }
.warning { font-weight: 600; }
.notice { border-color: var(--bad); }
.notice.good { border-color: var(--good); }
.notice h2 { font-size: 1.0625rem; margin: 0; }
.notice p { margin: 0; }
.outcome { font-size: 1.0625rem; margin: .5rem 0; }
.selection {
  display: flex; flex-wrap: wrap; align-items: center; gap: .5rem .75rem;
  padding: .625rem 0; background: var(--ground); border-top: 1px solid var(--line);
}
.requests:has(input:checked) .selection { position: sticky; bottom: 0; }
.selection p { margin: 0; }
.empty { padding: 3rem 0; color: var(--quiet); font: 1.125rem var(--serif); text-align: center; }

section { margin: 0 0 1.75rem; }
.columns { display: grid; gap: 0 2.5rem; grid-template-columns: minmax(0, 1fr); margin-top: 1rem; }
.members { display: grid; gap: .375rem; }
.members > div { display: grid; grid-template-columns: minmax(0, 1fr); }
.members dt { color: var(--quiet); }
.members dd { margin: 0; }
.members .members, .items { margin: 0; padding-left: .75rem; border-left: 2px solid var(--line); }
.items { list-style-position: inside; }
.items > li > .members { display: inline-grid; border: 0; }
.text { white-space: pre-wrap; }
.scalar { font-variant-numeric: tabular-nums; }
.hash { overflow-wrap: anywhere; }
details { margin: 0 0 .75rem; }
summary { display: flex; align-items: center; min-height: 44px; cursor: pointer; color: var(--accent); text-decoration: underline; text-underline-offset: .2em; }
summary::before { content: "+"; width: 1.25em; display: inline-block; }
details[open] > summary::before { content: "−"; }
.tiers, .notes { padding-left: 0; list-style: none; }
.tiers ul { padding-left: 1.25rem; }
.notes > li { padding: .5rem 0; border-top: 1px solid var(--line); }
.notes p { margin: 0; color: var(--quiet); }
.vote { font-weight: 600; }
.vote.approve { all: unset; font-weight: 600; color: var(--good); }
.vote.deny { color: var(--bad); }
.decision { padding: 1rem; margin-bottom: 1.75rem; background: var(--sheet); border: 1px solid var(--line); border-radius: 6px; align-self: start; }
.changes { width: 100%; border-collapse: collapse; margin-bottom: 1rem; }
.changes th, .changes td { padding: .5rem .75rem .5rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
del, ins { text-decoration: none; }
del code { color: var(--bad); }
ins code { color: var(--good); }
dialog { max-width: min(26rem, calc(100vw - 2rem)); padding: 1.25rem; border: 1px solid var(--edge); border-radius: 8px; background: var(--sheet); color: inherit; }
dialog::backdrop { background: rgb(0 0 0 / .45); }
.keys > div { display: grid; grid-template-columns: 5.5rem 1fr; padding: .125rem 0; }
.keys dd { margin: 0; }
kbd { padding: .0625rem .375rem; border: 1px solid var(--edge); border-radius: 4px; }

@media (max-width: 35rem) {
  .changes thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .changes, .changes tbody, .changes tr, .changes th, .changes td { display: block; width: 100%; border: 0; padding: .125rem 0; }
  .changes tr { padding: .5rem 0; border-bottom: 1px solid var(--line); }
  .changes td::before { content: attr(data-label) ": "; color: var(--quiet); }
}
@media (min-width: 35rem) {
  html:has(.requests input:checked) { scroll-padding-bottom: 5rem; }
  body { padding-inline: 1.5rem; }
  .news { margin-inline: 0; padding-inline: 0; }
  h1 + .news { width: fit-content; margin: -3rem 0 0 auto; padding-inline: .75rem 0; }
  .filter { grid-template-columns: minmax(0, 1fr) 11rem auto; }
  .members > div { grid-template-columns: 11rem minmax(0, 1fr); gap: 0 1rem; }
  .members .members > div { grid-template-columns: 8rem minmax(0, 1fr); }
}
@media (min-width: 56rem) {
  .columns:has(.decision) { grid-template-columns: minmax(0, 1fr) 20rem; grid-template-areas: "detail decision" "rest decision"; }
  .columns:has(.decision) .detail { grid-area: detail; }
  .columns:has(.decision) .rest { grid-area: rest; }
  .decision { grid-area: decision; position: sticky; top: 1rem; }
  .news:has(button:not([hidden])) + .columns .decision { top: 4.25rem; }
}
@media (prefers-reduced-motion: no-preference) {
  html { scroll-behavior: smooth; }
  button, .button { transition: border-color .12s; }
}
@media (prefers-contrast: more) {
  :root { --quiet: var(--ink); --line: var(--edge); --edge: var(--ink); }
}
@media (forced-colors: active) {
  .badge, .request, .notice, .warning { border-color: CanvasText; }
}
@media print {
  .top nav, .bottom, .decision, .selection, .filter, .news { display: none; }
}
`

/** As it is served: indentation is for those who read the source. */
export const stylesheet: string = source.replaceAll(/\n\s*/g, '\n').trim()
