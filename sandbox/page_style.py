"""The pages' style sheet, light and dark.

Not here: markup (pages.py).
"""

STYLE = """
:root { --back: #f6f7f9; --card: #fff; --text: #1b2330; --soft: #5b6676; --line: #dfe3e8; --accent: #1554d1; }
@media (prefers-color-scheme: dark) {
  :root {
    --back: #12161c; --card: #1b212a; --text: #e8ecf2; --soft: #a2adbb; --line: #313a46; --accent: #7daaff;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.6rem; margin: 0 0 .5rem; }
h2 { font-size: 1.15rem; margin: 0; }
section, fieldset, details {
  background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: 1rem 1.2rem; margin: 1rem 0;
}
legend, summary { font-weight: 600; }
legend { padding: 0 .4rem; }
small, .empty { color: var(--soft); }
a { color: var(--accent); }
section p { margin: .2rem 0 .6rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: start; vertical-align: top; }
th, td { padding: .45rem .6rem .45rem 0; border-top: 1px solid var(--line); }
th { border: 0; color: var(--soft); font-size: .8rem; font-weight: 600; }
td:nth-child(-n+2) { white-space: nowrap; font-variant-numeric: tabular-nums; }
.status { border-radius: 1rem; border: 1px solid var(--line); padding: .05rem .6rem; font-size: .85rem; }
.status.confirmed { border-color: #2b8a5a; }
.status.cancelled, .status.invalid { text-decoration: line-through; color: var(--soft); }
.choice { display: flex; gap: .7rem; align-items: baseline; padding: .45rem 0; cursor: pointer; }
.choice small { display: block; }
.scopes { margin: .5rem 0 0; columns: 16rem; }
.alert { border-inline-start: .3rem solid #c9372c; padding: .4rem .8rem; background: var(--card); }
.buttons { display: flex; gap: .7rem; }
button {
  font: inherit; padding: .55rem 1.4rem; border-radius: .5rem; border: 1px solid var(--line);
  background: var(--card); color: var(--text); cursor: pointer;
}
button.primary { background: #1554d1; border-color: #1554d1; color: #fff; }
:focus-visible { outline: .18rem solid var(--accent); outline-offset: .12rem; }
"""
