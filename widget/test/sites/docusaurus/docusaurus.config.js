export default {
  title: "Tide clock",
  url: "http://docusaurus.example",
  baseUrl: "/manual/",
  trailingSlash: true,
  i18n: {
    defaultLocale: "en",
    locales: ["en", "ar"],
    localeConfigs: { ar: { direction: "rtl" } },
  },
  scripts: [{ src: "http://quire.example/widget.js", defer: true }],
  presets: [["classic", { docs: { routeBasePath: "/" }, blog: false }]],
  themeConfig: {
    colorMode: { respectPrefersColorScheme: true },
    navbar: { title: "Tide clock", items: [{ type: "localeDropdown", position: "right" }] },
  },
};
