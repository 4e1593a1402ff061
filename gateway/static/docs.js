"use strict";

const search = document.getElementById("search");
const operations = [...document.querySelectorAll("article[data-search]")];

function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const each of operations) {
    each.hidden = !words.every((word) => each.dataset.search.includes(word));
    const link = document.querySelector(`nav a[href="#${each.id}"]`);
    if (link) link.parentElement.hidden = each.hidden;
  }
  for (const section of document.querySelectorAll("section[data-section]")) {
    section.hidden = !section.querySelector("article:not([hidden])");
  }
}

search.addEventListener("input", filter);

for (const code of document.querySelectorAll("pre.curl")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
  });
  code.before(button);
}
