lib: with lib; rec {
  remove = item: filter (other: other != item);
  singleton = value: [ value ];
  optional = condition: value: if condition then [ value ] else [ ];
  optionals = condition: list: if condition then list else [ ];
  toList = value: if isList value then value else [ value ];
  flatten = value: if isList value then concatMap flatten value else [ value ];
  foldr =
    f: end: list:
    if list == [ ] then end else f (head list) (foldr f end (tail list));
  last = list: elemAt list (length list - 1);
  init = list: genList (elemAt list) (length list - 1);
  take = count: list: genList (elemAt list) (if count < length list then count else length list);
  drop =
    count: list:
    genList (i: elemAt list (i + count)) (if count < length list then length list - count else 0);
  range = first: end: genList (i: first + i) (if end < first then 0 else end - first + 1);
  reverseList = list: genList (i: elemAt list (length list - 1 - i)) (length list);
  imap0 = f: list: genList (i: f i (elemAt list i)) (length list);
  imap1 = f: list: genList (i: f (i + 1) (elemAt list i)) (length list);
  zipListsWith =
    f: a: b:
    genList (i: f (elemAt a i) (elemAt b i)) (if length a < length b then length a else length b);
  unique = foldl' (seen: value: if elem value seen then seen else seen ++ [ value ]) [ ];
  allUnique = list: length (unique list) == length list;
  subtractLists = removed: filter (value: !elem value removed);
  intersectLists = kept: filter (value: elem value kept);
  findFirst =
    f: default: list:
    let
      found = filter f list;
    in
    if found == [ ] then default else head found;
  count = f: list: length (filter f list);
  naturalSort = sort (a: b: a < b);
}
