// What a reader would stumble over, one line each, in an element that the test reads.
const said = [];
const errors = [];
window.addEventListener("error", (e) => errors.push(e.message));
function meet(a, b) {
  const slack = 1;
  return a.left + slack < b.right && b.left + slack < a.right
    && a.top + slack < b.bottom && b.top + slack < a.bottom;
}
function look() {
  let texts = 0;
  document.querySelectorAll("figure svg").forEach((svg, i) => {
    const frame = svg.getBoundingClientRect();
    const boxes = [...svg.querySelectorAll("text")]
      .filter((t) => t.textContent.trim())
      .map((t) => {
        // The glyphs' own box: a line of text has room above and below it.
        const box = t.getBoundingClientRect();
        const trim = t.getAttribute("transform") ? 0 : box.height * 0.18;
        return { text: t.textContent, left: box.left, right: box.right, top: box.top + trim, bottom: box.bottom - trim };
      });
    texts += boxes.length;
    boxes.forEach((a, j) => {
      if (a.left < frame.left - 1 || a.right > frame.right + 1 || a.top < frame.top - 1 || a.bottom > frame.bottom + 1) {
        said.push(`drawing ${i}: "${a.text}" leaves it`);
      }
      boxes.slice(j + 1).forEach((b) => {
        if (meet(a, b)) said.push(`drawing ${i}: "${a.text}" lies upon "${b.text}"`);
      });
    });
  });
  document.querySelectorAll("body p, body li, body h1, body h2, figcaption, nav").forEach((e) => {
    const box = e.getBoundingClientRect();
    if (box.width > 0 && (box.right > document.documentElement.clientWidth + 1 || box.left < -1)) {
      said.push(`<${e.tagName.toLowerCase()}> "${e.textContent.trim().slice(0, 60)}" is wider than the page`);
    }
  });
  // On a narrow screen a wide table is scrolled; on a wide one, and on paper, it fits.
  document.querySelectorAll(".scroll").forEach((e) => {
    if (window.innerWidth >= 1000 && e.scrollWidth > e.clientWidth + 1) {
      said.push(`"${e.textContent.trim().slice(0, 40)}" is cut off: ${e.scrollWidth} in ${e.clientWidth}`);
    }
  });
  if (document.documentElement.scrollWidth > document.documentElement.clientWidth + 1) {
    said.push(`the page is ${document.documentElement.scrollWidth} wide in a window of ${document.documentElement.clientWidth}`);
  }
  document.querySelectorAll("a[href^='#']").forEach((a) => {
    if (!document.querySelector(a.getAttribute("href"))) said.push(`${a.getAttribute("href")} leads nowhere`);
  });
  errors.forEach((e) => said.push(`error: ${e}`));
  said.unshift(`looked at ${texts} texts`);
  const out = document.createElement("pre");
  out.id = "probe";
  out.textContent = said.join("\n");
  document.body.append(out);
}
try { look(); } catch (e) { errors.push(e.message); said.push(`error: ${e.message}`); }
