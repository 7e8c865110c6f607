"""TODO"""

from lib.sites.config_files import glob_matches, string, strings
from lib.sites.site import NOT_BUILT, ContentRoot, PagePath, PageSource, Site, joined, split_name

# --- Sphinx -------------------------------------------------------------------------------------


def sphinx(site: Site, mount: ContentRoot, source: PageSource) -> PagePath:
    excluded = strings(site.settings.get("exclude_patterns"))
    # Sphinx's own globs: a pattern names a file or a folder with all it holds.
    if any(
        glob_matches((pattern, f"{pattern.rstrip('/')}/**"), source.path) for pattern in excluded
    ):
        return NOT_BUILT
    folder, name = split_name(source.path)
    if site.use_directory_urls:
        return PagePath(joined(site.base_url, folder, "/" if name == "index" else f"{name}/"))
    suffix = string(site.settings, "html_file_suffix") or ".html"
    return PagePath(joined(site.base_url, folder, name) + suffix)
