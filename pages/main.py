"""The script of every page view: page configuration, styles and navigation."""

import streamlit as st

from pages.shared import backend
from pages.shared.failures import reported
from pages.shared.keyboard import lead_into_popovers
from pages.shared.namesake import join_compression
from pages.shared.url.bound import kept_address

join_compression()

st.set_page_config(page_title="Compression", page_icon=":material/compress:", layout="wide")
st.html("""<style>
.stMainBlockContainer {padding: 3.5rem clamp(1rem, 3vw, 2.5rem) 3rem}
body [class*="st-key-cards"] {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); align-items: start}
[class*="st-key-cards"] > * {min-width: 0; width: auto}
body [data-testid="stImage"] {column-gap: .5rem}
[class*="st-key-cards"] [data-testid="stMetricDelta"] * {white-space: normal; overflow: visible}
[class*="st-key-cards"] :is(.stMarkdownBadge, [data-testid="stMetricLabel"] .stMarkdownEllipsis),
[class*="st-key-cards"] [data-testid="stMetricLabel"] .stMarkdownEllipsis * {white-space: normal !important}
[class*="st-key-head-"], .st-key-notice {flex-wrap: nowrap}
[class*="st-key-head-"] label p {white-space: normal; font-weight: 600}
[class*="st-key-about-"] button {min-height: 0; padding: 0}
[class*="st-key-about-"] button [data-testid="stMarkdownContainer"] {
  position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%)}
[class*="st-key-open-"] button[kind="tertiary"], [class*="st-key-open-"] button[kind="tertiary"] > div {
  justify-content: flex-start; text-align: left}
body button[kind="primary"]:enabled {color: light-dark(#FFFFFF, #0B1117)}
body [data-testid="stCaptionContainer"] {opacity: 1; color: color-mix(in srgb, currentColor 72%, transparent)}
body [data-testid="stCaptionContainer"] :is(p, li, ul, ol) {color: inherit}
[data-testid="stHeaderActionElements"] {display: none}
body a:focus-visible, [data-testid="stBaseButton-elementToolbar"]:focus-visible {
  outline: 2px solid currentColor !important; outline-offset: 1px}
body :is(label, [data-rac]):has(> span > input:focus-visible),
body :has(> input:is([type="text"], [type="number"], [type="search"]):focus-visible) {
  outline: 2px solid currentColor; outline-offset: 1px; border-radius: .25rem}
.stDataFrame:has(:is(canvas, td):focus-visible) {outline: 2px solid currentColor; outline-offset: 1px}
.st-key-popover-keys {display: none}
</style>""")
lead_into_popovers()
pages = [
    st.Page("explore/explore.py", title="Explore", icon=":material/explore:", default=True),
    st.Page("compare/compare.py", title="Compare", icon=":material/compare_arrows:"),
    st.Page("layers/layers.py", title="Layers", icon=":material/layers:"),
    st.Page("search/search.py", title="Search", icon=":material/travel_explore:"),
    st.Page("export/export.py", title="Export", icon=":material/ios_share:"),
    st.Page("library/library.py", title="Library", icon=":material/local_library:"),
]
page = st.navigation(pages, position="top")
with kept_address(page.url_path), reported(page.title):
    backend.service()
    page.run()
