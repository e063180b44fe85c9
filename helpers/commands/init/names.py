"""What columns, files and events are called, in six languages.

A name is cut into words and put side by side with lists of names for each canonical
column. Nothing here looks at values.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from functools import lru_cache

__all__ = ["ALIASES", "EVENTS", "core", "event_in_name", "event_of", "name_score", "words"]

#: Canonical column: what it is called elsewhere. English, Spanish, Portuguese, French, German,
#: Chinese; without accents, and without words such as "id" or "number".
ALIASES: dict[str, tuple[str, ...]] = {
    key: tuple(names.split())
    for key, names in {
        "user_id": "user customer client visitor member buyer shopper account person household"
        " guest subscriber consumer u fullvisitor cookie device usuario cliente comprador socio"
        " visitante utilizador utilisateur acheteur visiteur membre kunde kunden benutzer nutzer"
        " besucher kaufer 用户 会员 客户 买家 顾客 访客 使用者",
        "item_id": "item product article stock stockitem sku asin ean gtin upc goods offer ad"
        " adgroup creative banner movie song track book content video listing game articulo"
        " producto artigo produto produit artikel produkt ware"
        " 商品 产品 物品 货品 广告 宝贝 视频 内容",
        "event_time": "time timestamp ts datetime date when occurred created fecha fechahora"
        " momento data datahora horodatage horodate zeit zeitpunkt zeitstempel datum"
        " 时间 日期 时间戳 时刻",
        "event_type": "event eventtype eventname type action actiontype behavior behaviour"
        " behaviortype behaviourtype activity evento tipoevento tipodeevento accion acao tipo"
        " evenement typeevenement ereignis ereignistyp aktion typ"
        " 行为 行为类型 事件 事件类型 操作 动作",
        "list_id": "list page request searchresult invoice order ticket transaction basket receipt"
        " bill factura pedido recibo albaran cesta fatura encomenda facture commande panier"
        " rechnung bestellung beleg auftrag bon 订单 发票 交易 单据",
        "session_id": "session usersession visit sesion visita sessao seance sitzung 会话",
        "query": "query search searchterm searchquery keyword keywords term q consulta busqueda"
        " termino busca pesquisa requete recherche suchanfrage suchbegriff 搜索词 查询 关键词 搜索",
        "position": "position rank slot pos displayposition posicion posicao rang platz 位置 排名",
        "price": "price unitprice itemprice saleprice listprice precio preciounitario pvp preco"
        " precounitario valorunitario prix prixunitaire preis einzelpreis stuckpreis"
        " 价格 单价 售价",
        "quantity": "quantity qty units pieces cantidad unidades quantidade qtd quantite qte menge"
        " anzahl stuckzahl 数量 件数",
        "store_id": "store shop branch outlet tienda sucursal loja magasin boutique filiale laden"
        " 店铺 门店 商店",
        "label": "label click clicked isclick isclicked target converted conversion purchased"
        " bought isbuy ispurchase response pulsado clic clicado clique geklickt gekauft"
        " compro comprado convertido exito etiqueta comprou achete converti reussite"
        " 点击 是否点击 标签 是否购买",
        "title": "title name description productname itemname nombre descripcion titulo nome"
        " descricao nom libelle designation bezeichnung beschreibung titel 名称 标题 商品名称 品名",
        "category": "category categorycode family department group familia categoria departamento"
        " famille categorie rayon kategorie warengruppe familie 类目 分类 类别 品类",
        "subcategory": "subcategory subfamily subfamilia subcategoria souscategorie sousfamille"
        " unterkategorie untergruppe 子类目 子分类",
        "brand": "brand make manufacturer marca fabricante marque fabricant marke hersteller 品牌",
    }.items()
}
_AMONG = {column: frozenset(names) for column, names in ALIASES.items()}
#: These name the row or the clock only when the whole name says so.
_WHOLE = {"event_id": ("eventid", "rowid", "logid")}

#: One word of a name is enough for these.
_BY_WORD = ("label", "price", "quantity", "title", "category", "subcategory", "brand")

#: Canonical event: what it is called elsewhere.
EVENTS: dict[str, tuple[str, ...]] = {
    key: tuple(names.split())
    for key, names in {
        "impression": "impression imp view viewed productview pageview viewitem detail show shown"
        " exposure display displayed browse seen pv vista visto impresion visualizacion"
        " visualizacao affichage vue ansicht 浏览 曝光 展示 展现",
        "click": "click clicked clk clic klick clique 点击",
        "cart": "cart addtocart addcart addedtocart addtobasket basket atc carrito anadiralcarrito"
        " carrinho panier ajoutpanier warenkorb 加购 加购物车 加入购物车 购物车",
        "purchase": "purchase purchased buy bought order ordered transaction sale sold pay paid"
        " conversion invoice compra pedido venta vendido venda achat vente commande kauf gekauft"
        " bestellung verkauf verkaufe 购买 下单 支付 成交 交易 订单",
    }.items()
}

_QUALIFIERS = (
    "id uid no nr num number nummer code codigo cod key numero ref de do du of 编号 编码 号 名"
)
_LEFT_OUT = frozenset(_QUALIFIERS.split())
_REMEMBERED = 1 << 17  # names, and names beside columns
_CLOSE = 0.85
_BEFORE = re.compile(r"^(?:id|no|nr|num|codigo|cod|code|numero)(?=..)")
_AFTER = re.compile(r"(?<=..)(?:id|ids|number|nummer|code|key|编号|编码|号)$")


def words(name: str) -> list[str]:
    """Return the words of a name in small letters and without accents.

    Example:
        >>> words("Nº ticketVenta"), words("user_ID"), words("用户ID")
        (['no', 'ticket', 'venta'], ['user', 'id'], ['用户', 'id'])
    """
    return [*_words(name)]


@lru_cache(_REMEMBERED)
def _words(name: str) -> tuple[str, ...]:
    plain = unicodedata.normalize("NFKD", name)
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    plain = re.sub(r"(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", plain)
    plain = re.sub(
        r"(?<=[\u3400-\u9fff])(?=[A-Za-z\d])|(?<=\w)(?<![\u3400-\u9fff])"
        r"(?=[\u3400-\u9fff])",
        " ",
        plain,
    )
    return tuple(word for word in re.split(r"[\W_]+", plain.casefold()) if word)


@lru_cache(_REMEMBERED)
def core(name: str) -> str:
    """Return a name without words such as "id", "number" or "code".

    Example:
        >>> core("Código artículo"), core("visitorid"), core("InvoiceNo"), core("商品编号")
        ('articulo', 'visitor', 'invoice', '商品')
    """
    kept = [word for word in _words(name) if word not in _LEFT_OUT]
    joined = "".join(kept) or "".join(_words(name))
    return _AFTER.sub("", _BEFORE.sub("", joined)) if len(kept) < 2 else joined


@lru_cache(16 * _REMEMBERED)
def name_score(name: str, column: str) -> float:
    """Return how well a name fits a canonical column: 0 (not at all) to 1.1 (the very name).

    Example:
        >>> name_score("user_id", "user_id"), name_score("CustomerID", "user_id")
        (1.1, 1.0)
        >>> name_score("Custommer", "user_id"), name_score("Country", "user_id")
        (0.6, 0.0)
    """
    parts = _words(name)
    joined = "".join(parts)
    if name.strip().casefold() == column:
        return 1.1
    if column in _WHOLE:
        return 1.0 if joined in _WHOLE[column] else 0.0
    known, among = ALIASES[column], _AMONG[column]
    if joined in among or core(name) in among:
        return 1.0
    if column == "event_time" and (not among.isdisjoint(parts) or _ends(joined, known)):
        return 0.8
    if column == "event_time" and parts[1:] and parts[-1] in ("at", "on"):
        return 0.7  # clicked_at
    if column in _BY_WORD and not among.isdisjoint(parts):
        return 0.7
    if not name.isascii() and any(ord(c) > 0x3400 for c in name) and _ends(core(name), known):
        return 0.8
    return 0.6 if _is_close(core(name), known) else 0.0


def _is_close(name: str, known: tuple[str, ...]) -> bool:
    """Whether a name differs from the nearest known one by a slip of the pen."""
    # Two texts agree in no more letters than the shorter one has.
    alike = [k for k in known if 2 * min(len(k), len(name)) >= _CLOSE * (len(k) + len(name))]
    if len(name) < 5 or not alike:
        return False
    close = difflib.get_close_matches(name, alike, n=1, cutoff=_CLOSE)
    return bool(close) and len(close[0]) >= 5


def _ends(joined: str, known: tuple[str, ...]) -> bool:
    """Whether a compound ends in a known word, as ``invoicedate`` or ``下单时间``."""
    return any(joined.endswith(k) for k in known if len(k) >= 4 or ord(k[0]) > 0x3400)


def event_of(value: str) -> str:
    """Return the canonical event of a stored value, or an empty text.

    Example:
        >>> event_of("addtocart"), event_of("Viewed"), event_of("remove_from_cart")
        ('cart', 'impression', '')
    """
    joined = "".join(words(value))
    for event, known in EVENTS.items():
        if joined == event or joined in known or joined.removesuffix("s") in known:
            return event
    return ""


def event_in_name(name: str) -> str:
    """Return the canonical event that the name of a file or table speaks of, or an empty text.

    Example:
        >>> event_in_name("clicks-2025.csv.gz"), event_in_name("events.csv")
        ('click', '')
    """
    return next((event for word in words(name.split(".")[0]) if (event := event_of(word))), "")
