// Tables sort within their groups: methods of different execution classes are never mixed.
(function () {
  "use strict";
  function key(row, column) {
    var cell = row.cells[column];
    var raw = cell.getAttribute("data-sort");
    if (raw === null || raw === "") return null;
    var number = Number(raw);
    return Number.isNaN(number) ? raw.toLowerCase() : number;
  }
  function compare(a, b) {
    if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
    return a < b ? -1 : a > b ? 1 : 0;
  }
  function sort(table, column, heading) {
    var ascending = heading.getAttribute("aria-sort") === "descending";
    table.querySelectorAll("thead th").forEach(function (th) { th.removeAttribute("aria-sort"); });
    heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    Array.prototype.forEach.call(table.tBodies, function (body) {
      var rows = Array.prototype.filter.call(body.rows, function (r) { return !r.classList.contains("group"); });
      rows.sort(function (x, y) {
        var a = key(x, column), b = key(y, column);
        if (a === null || b === null) return compare(a, b);
        return ascending ? compare(a, b) : compare(b, a);
      });
      rows.forEach(function (r) { body.appendChild(r); });
    });
  }
  document.querySelectorAll("table.sortable").forEach(function (table) {
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (th, column) {
      var button = document.createElement("button");
      button.type = "button";
      button.title = "sort within each group";
      while (th.firstChild) button.appendChild(th.firstChild);
      th.appendChild(button);
      button.addEventListener("click", function () { sort(table, column, th); });
    });
  });
})();
