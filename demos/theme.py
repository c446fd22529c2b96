"""How the page looks: one accent color, one scale of spacing, light and dark."""

from __future__ import annotations

from clipapps.web.parts import gr

ACCENT = "#4f46e5"

CSS = """
.gradio-container { max-width: 1160px !important; margin: 0 auto !important; }
.gradio-container > main, .gradio-container .wrap.fillable { width: 100%; max-width: 1160px !important; }
#head h1 { font-size: 1.7rem; margin: 0.4rem 0 0; letter-spacing: -0.01em; }
#head p { margin: 0.2rem 0 0.6rem; color: var(--body-text-color-subdued); }
.facts { color: var(--body-text-color-subdued); font-size: 0.85rem; }
button { min-height: 44px; }
.prose img, .html-container img { max-width: 100%; border-radius: 8px; }
@media (max-width: 768px) {
  .row { flex-direction: column !important; }
  .gradio-container { padding: 0 10px !important; }
}
footer { opacity: 0.7; }
"""


def theme() -> gr.themes.Base:
    """The page's theme; fonts are the system's, so that nothing is fetched from elsewhere."""
    sans = ["ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
    return gr.themes.Soft(
        primary_hue="indigo", neutral_hue="slate", radius_size="lg", spacing_size="md",
        font=sans, font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "monospace"],
    ).set(button_primary_background_fill=ACCENT, button_primary_background_fill_hover="#4338ca",
          button_primary_background_fill_dark=ACCENT, button_primary_text_color="#ffffff")
