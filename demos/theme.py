"""How the page looks: one accent color, one scale of spacing, light and dark; nothing is fetched from elsewhere."""

from __future__ import annotations

from html import escape

from clipapps.web import views
from clipapps.web.parts import gr

ACCENT, ACCENT_ON_DARK = "#4f46e5", "#a5b4fc"
_SANS = ["ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
_MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]

CSS = """
:root { --accent: #4f46e5; --accent-text: #4f46e5; }
.dark { --accent: #6366f1; --accent-text: #a5b4fc; color-scheme: dark; }
.gradio-container { width: 100%; }
.gradio-container .main.fillable { width: 100%; max-width: 1180px; margin: 0 auto; padding: 16px 24px; }
.gradio-container .main > .wrap { width: 100%; }
.slider-wrap .icon-wrap { color: #fff !important; }
#head .brand { display: flex; align-items: center; gap: 14px; padding: 4px 0; }
#head svg { width: 40px; height: 40px; flex: none; }
#head h1 { font-size: 1.5rem; line-height: 1.2; margin: 0; letter-spacing: -.02em; }
#head p { margin: 2px 0 0; color: var(--body-text-color-subdued); font-size: .9rem; }
#head .here { margin-left: auto; text-align: right; white-space: nowrap; }
.lead p { font-size: 1rem; color: var(--body-text-color-subdued); max-width: 50rem; }
.facts, .facts p { color: var(--body-text-color-subdued); font-size: .85rem; }
.block.answer { padding: 40px 16px 16px !important; min-height: 120px; }
.answer .html-container, #head .html-container { padding: 0; }
.answer > label svg, .answer > label span { display: none; }
.input video { max-height: 310px; }
.input button[aria-label="Trim video to selection"] { display: none; }
button.lg { min-height: 44px; }
.tab-container button { min-height: 44px; font-weight: 500; }
.tab-container button.selected { color: var(--accent-text); }
.tab-container button.selected::after { background-color: var(--accent-text); }
.command textarea { font-family: var(--font-mono); font-size: .85rem; }
.buttons button { min-width: 130px !important; }
@media (pointer: coarse) { button.icon, .icon-button, .source-selection button { min-width: 44px; min-height: 44px; } }
@media (max-width: 768px) {
  .gradio-container .main.fillable { padding: 8px 12px; }
  .row:not(.buttons) { flex-direction: column; }
  .row:not(.buttons) > * { width: 100%; }
  .tab-container button { padding: 0 10px; }
  #head .here { display: none; }
}
""" + views.CSS

# Pictures of examples have no names of their own, which screen readers would need.
JS = """() => {
  const name = () => document.querySelectorAll('.gallery-item:not([aria-label])').forEach(item =>
    item.setAttribute('aria-label', 'Run example ' + ([...item.parentElement.children].indexOf(item) + 1)));
  new MutationObserver(name).observe(document.body, {childList: true, subtree: true});
  name();
}"""

_LOGO = """<svg viewBox="0 0 40 40" aria-hidden="true"><rect x="2" y="2" width="24" height="24" rx="7" fill="#4f46e5"/>
<rect x="14" y="14" width="24" height="24" rx="7" fill="#a5b4fc" fill-opacity=".85"/>
<rect x="14" y="14" width="12" height="12" rx="3" fill="#fff"/></svg>"""


def header(title: str, tagline: str, here: str) -> str:
    """The page's head as HTML: logo, name, one sentence, and where it runs."""
    return (f'<header class="brand">{_LOGO}<div><h1>{escape(title)}</h1><p>{escape(tagline)}</p></div>'
            f'<p class="here">{escape(here)}</p></header>')


def theme() -> gr.themes.Base:
    """The page's theme; fonts are the system's."""
    return gr.themes.Base(
        primary_hue="indigo", neutral_hue="slate", radius_size="lg", spacing_size="md", font=_SANS, font_mono=_MONO,
    ).set(**_SURFACES, **_WORDS, **_CONTROLS)


_SURFACES = dict(
    body_background_fill="*neutral_50", body_background_fill_dark="#0b1020",
    background_fill_primary="white", background_fill_primary_dark="#131a2c",
    background_fill_secondary="*neutral_100", background_fill_secondary_dark="#1c2540",
    block_background_fill="white", block_background_fill_dark="#131a2c",
    border_color_primary="*neutral_200", border_color_primary_dark="#2a3554",
    block_border_width="1px", block_border_color="*border_color_primary", block_shadow="none", block_radius="12px",
    panel_background_fill="transparent", panel_background_fill_dark="transparent", panel_border_width="0px",
    table_even_background_fill="white", table_even_background_fill_dark="#131a2c",
    table_odd_background_fill="*neutral_50", table_odd_background_fill_dark="#182036",
    layout_gap="16px", form_gap_width="0px", stat_background_fill=ACCENT, stat_background_fill_dark="#6366f1")
_WORDS = dict(
    body_text_color="*neutral_800", body_text_color_dark="*neutral_100",
    body_text_color_subdued="*neutral_600", body_text_color_subdued_dark="*neutral_400",
    block_label_background_fill="*background_fill_primary", block_label_background_fill_dark="*background_fill_primary",
    block_label_border_width="0px", block_label_text_color="*neutral_700", block_label_text_color_dark="*neutral_200",
    block_label_text_weight="600", block_title_background_fill="transparent", block_title_text_weight="600",
    block_title_text_size="*text_sm", block_title_text_color="*neutral_700", block_title_text_color_dark="*neutral_200",
    block_info_text_color="*neutral_600", block_info_text_color_dark="*neutral_400",
    link_text_color=ACCENT, link_text_color_dark=ACCENT_ON_DARK)
_CONTROLS = dict(
    input_background_fill="*neutral_50", input_background_fill_dark="#0b1020", input_border_width="1px",
    input_border_color="*neutral_300", input_border_color_dark="#3a476b",
    input_placeholder_color="*neutral_500", input_placeholder_color_dark="*neutral_400",
    color_accent=ACCENT, slider_color=ACCENT, slider_color_dark="#6366f1", loader_color=ACCENT,
    button_primary_background_fill=ACCENT, button_primary_background_fill_hover="#4338ca",
    button_primary_background_fill_dark=ACCENT, button_primary_background_fill_hover_dark="#6366f1",
    button_primary_text_color="white", button_primary_text_color_dark="white",
    button_secondary_background_fill="white", button_secondary_background_fill_dark="#1c2540",
    button_secondary_border_color="*neutral_300", button_secondary_border_color_dark="#3a476b",
    button_secondary_text_color="*neutral_800", button_secondary_text_color_dark="*neutral_100",
    button_border_width="1px", button_large_text_weight="600",
    button_cancel_background_fill="white", button_cancel_background_fill_dark="#1c2540",
    button_cancel_border_color="#dc2626", button_cancel_border_color_dark="#f87171",
    button_cancel_text_color="#b91c1c", button_cancel_text_color_dark="#fca5a5")
