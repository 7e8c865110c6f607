export default {
  title: "Tide clock",
  head: [["script", { src: "http://quire.example/widget.js", defer: "" }]],
  locales: {
    root: { label: "English", lang: "en" },
    ar: { label: "العربية", lang: "ar", dir: "rtl" },
  },
  themeConfig: {
    sidebar: [
      { text: "The tide clock", link: "/" },
      { text: "Winding", link: "/winding" },
      { text: "Chimes", link: "/chimes" },
      { text: "Faults", link: "/faults" },
    ],
  },
};
