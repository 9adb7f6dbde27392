"""A passage is found, and chance is not called clear, in scripts that need more than blanks."""

from pathlib import Path

import pytest

from palimpsest.evidence.passages import PassageFilter, all_passages
from palimpsest.store.archive import StoredArchive
from tests.pipeline.corpora import ingest, write_articles

SHARED = {
    "th": "ชาวประมงในหมู่บ้านริมอ่าวช่วยกันลากเรือไม้ลำเก่าขึ้นจากน้ำเมื่อเช้าวันอังคาร หลังจากคลื่นลมแรงพัดมันไปเกยโขดหินใต้ประภาคารนานถึงสามวัน และนายท่าเรือกล่าวว่าจะซ่อมมันให้ทันงานแข่งเรือในฤดูร้อน",
    "ja": "入り江の村の漁師たちは火曜日の朝、三日前の嵐で灯台の下の岩場に打ち上げられた古い木造船を綱で引き上げ、港長は夏の競漕大会までに船底を直すつもりだと集まった住民に語った。",
    "zh": "海湾村的渔民星期二早晨用绳索把一艘旧木船拖上岸，三天前的风暴把它推到灯塔下面的礁石上，港务主任对围观的居民说，他打算在夏季划船比赛以前修好船底。",
    "vi": "Sáng thứ Ba, ngư dân làng ven vịnh đã dùng dây thừng kéo con thuyền gỗ cũ lên bờ, sau khi cơn bão ba ngày trước đẩy nó mắc vào bãi đá dưới chân ngọn hải đăng, và trưởng bến nói sẽ sửa xong đáy thuyền trước hội đua mùa hè.",
    "ko": "만의 어부들은 화요일 아침 사흘 전 폭풍에 밀려 등대 아래 바위에 걸린 낡은 목선을 밧줄로 끌어 올렸고 항구 책임자는 여름 조정 대회 전까지 배 밑바닥을 고치겠다고 모여든 주민에게 약속했다.",
}
OTHERS = {
    "th": (
        "ตลาดเช้าของเมืองเปิดขายผักและปลาแห้งเหมือนทุกวัน แต่แม่ค้าบอกว่าลูกค้าน้อยลงเพราะถนนสายใหม่ยังสร้างไม่เสร็จ และรถบรรทุกต้องอ้อมไปทางสะพานเหนือซึ่งไกลกว่าเดิมเกือบสิบกิโลเมตร",
        "ครูสอนดนตรีของโรงเรียนประจำอำเภอได้รับรางวัลจากการแต่งเพลงกล่อมเด็ก เขาบอกว่าได้ทำนองมาจากเสียงกังหันน้ำหลังบ้าน และจะนำเงินรางวัลไปซื้อขลุ่ยให้นักเรียนทุกคนในชั้น",
    ),
    "ja": (
        "町の朝市ではいつものように野菜や干物が並んだが、新しい道路の工事が終わらないため客足は鈍く、店主たちは北の橋を回って来る荷車が増えたとこぼしながら値札を書き直していた。",
        "郡立学校の音楽教師が子守歌の作曲で賞を受け、旋律は家の裏の水車の音から思いついたもので、賞金は受け持ちの生徒全員に笛を買うために使いたいと授賞式で静かに話した。",
    ),
    "zh": (
        "城里的早市像往常一样摆满蔬菜和干鱼，可是新公路还没有修好，买东西的人少了许多，摊贩们抱怨货车必须绕道北桥，每天要多走将近十公里的路程。",
        "县立学校的音乐教师因为创作摇篮曲获得奖项，他说旋律来自屋后水车的声音，并且打算用奖金给班上每一个学生买一支竹笛，让他们在毕业晚会上一起演奏。",
    ),
    "vi": (
        "Chợ sớm của thị trấn vẫn bày rau và cá khô như mọi ngày, nhưng các bà bán hàng than rằng khách thưa hẳn vì con đường mới chưa làm xong, xe tải phải vòng qua cây cầu phía bắc xa thêm gần mười cây số.",
        "Thầy giáo dạy nhạc của trường huyện được trao giải nhờ một bài hát ru, thầy kể giai điệu đến từ tiếng guồng nước sau nhà, và tiền thưởng sẽ dùng để mua sáo tre cho từng học sinh trong lớp.",
    ),
    "ko": (
        "읍내 새벽 시장에는 여느 때처럼 채소와 말린 생선이 놓였지만 새 도로 공사가 끝나지 않아 손님이 줄었고 상인들은 북쪽 다리로 돌아오는 짐차가 늘었다고 불평했다.",
        "군립 학교 음악 교사는 자장가를 작곡해 상을 받았는데 가락은 집 뒤 물레방아 소리에서 떠올렸으며 상금으로 반 학생 모두에게 피리를 사 주겠다고 말했다.",
    ),
}


@pytest.mark.parametrize("language", SHARED)
def test_what_two_articles_share_is_clear_and_nothing_else(tmp_path: Path, language: str) -> None:
    shared, (one, other) = SHARED[language], OTHERS[language]
    articles = {"a.txt": [one, shared], "b.txt": [other, shared], "c.txt": [f"{other} {one}"]}
    ingest(write_articles(tmp_path / "in", articles), tmp_path / "press")
    found = all_passages(StoredArchive(tmp_path / "press").snapshot(), PassageFilter(clear=True))
    names = ("left_uri", "right_uri", "left_passage", "relation")
    shown = {
        tuple(row[name].rpartition("/")[2].rstrip(".。") for name in names)
        for row in found.to_pylist()
    }
    assert shown == {
        ("a.txt", "b.txt", shared.rstrip(".。"), "exact"),
        ("a.txt", "c.txt", one.rstrip(".。"), "exact"),
        ("b.txt", "c.txt", other.rstrip(".。"), "exact"),
    }


@pytest.mark.parametrize("language", SHARED)
def test_different_stories_share_nothing_clear(tmp_path: Path, language: str) -> None:
    texts = [SHARED[language], *OTHERS[language]]
    articles = {f"{number}.txt": [text] for number, text in enumerate(texts)}
    ingest(write_articles(tmp_path / "in", articles), tmp_path / "press")
    snapshot = StoredArchive(tmp_path / "press").snapshot()
    assert all_passages(snapshot, PassageFilter(clear=True)).num_rows == 0
